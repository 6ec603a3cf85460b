"""StereoSet and BBQ as tasks of inspect_ai, which finds them as `biasunlearn/stereoset` and `biasunlearn/bbq`.

Both compare log-probabilities of given texts, and most providers of inspect_ai only write text. Two kinds can be asked:
`hf/` loads a model here, which is then scored by the same code as in `measure`; and servers that return the
log-probabilities of a prompt (`vllm-completions/`, `openai-api-completions/`), which are sent token ids. Any other
provider is an error. Only this module imports inspect_ai.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError  # what inspect_ai shows as one line; it has no public name
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from biasunlearn.benchmarks import bbq as bbq_benchmark
from biasunlearn.benchmarks import stereoset as stereoset_benchmark
from biasunlearn.benchmarks.common import panel
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError, UnscorableError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.results import BBQResult
from biasunlearn.scoring.triplets import role_sentences, sentence_items
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded
    from biasunlearn.scoring.log_prob import Score as LogProb

PROMPT_LOG_PROBS = GenerateConfig(max_tokens=1, temperature=0.0, prompt_logprobs=1)
FOUND, UNSCORABLE = "log_probs", "unscorable"
"""Names in a sample's store: [sum, tokens] of each passage, or why the model cannot score one of them."""


@task
def stereoset(data: str, adapter: str | None = None, tokenizer: str | None = None, skip_invalid: bool = False) -> Task:
    """SS, LMS and ICAT with their intervals, overall and by bias type, as `measure` computes them.

    Args:
        data: StereoSet's dev.json, a hub data set, or a file of pairs.
        adapter: folder of an adapter to put on a model of `hf/`.
        tokenizer: folder or name of the tokenizer of a served model.
        skip_invalid: leave out rows and sentences that cannot be used; they are counted. Otherwise they are an error.
    """
    from biasunlearn.scoring.log_prob import Score as LogProb

    with _one_line():
        read = stereoset_benchmark.read(data, skip_invalid=skip_invalid)
    samples = []
    for triplet in read.triplets:
        asked = role_sentences([triplet])
        items = sentence_items(asked, [LogProb(0.0, 1)] * len(asked))
        samples.append(_sample(f"{triplet.kind}/{triplet.id}", [triplet.whole(one) for _, _, one in asked], items))
    return Task(
        dataset=MemoryDataset(samples), solver=log_probs(adapter, tokenizer, skip_invalid),
        scorer=stereotype_likelier(), metadata=read.facts,
    )  # fmt: skip


@task
def bbq(data: str, adapter: str | None = None, tokenizer: str | None = None, skip_invalid: bool = False) -> Task:
    """Accuracies and bias scores with their intervals, overall and by category, from the likeliest answer's text.

    The stereotyped answer of a question is known from the tags of the file.

    Args:
        data: a .jsonl of one category, or a folder of them.
        adapter: folder of an adapter to put on a model of `hf/`.
        tokenizer: folder or name of the tokenizer of a served model.
        skip_invalid: leave out rows and questions that cannot be used; they are counted. Otherwise they are an error.
    """
    from biasunlearn.scoring.log_prob import Score as LogProb

    with _one_line():
        read = bbq_benchmark.read(data, skip_invalid=skip_invalid)
    samples = []
    for question in read.records:
        asked = [(question, *one) for one in bbq_benchmark.asked_by_text(question)]
        items = bbq_benchmark.question_items(asked, [LogProb(0.0, 1)] * len(asked))
        samples.append(_sample(question.id, [passage for *_, passage in asked], items))
    return Task(
        dataset=MemoryDataset(samples), solver=log_probs(adapter, tokenizer, skip_invalid),
        scorer=right_answer(), metadata=read.facts,
    )  # fmt: skip


def _sample(name: str, passages: Sequence[Passage], items: Sequence[Item]) -> Sample:
    """A sample of inspect_ai: what is asked, and the items without their scores."""
    return Sample(
        id=name,
        input="\n".join(passage.prefix + passage.text for passage in passages),
        metadata={
            "passages": [[passage.prefix, passage.text] for passage in passages],
            "items": [asdict(item) for item in items],
        },
    )


# --- log-probabilities --------------------------------------------------------------------------------------------


@solver
def log_probs(adapter: str | None = None, tokenizer: str | None = None, skip_invalid: bool = False) -> Solver:
    """Stores the sum of the log-probabilities of each passage of a sample, in nats, and its number of tokens."""
    models: WeakKeyDictionary[Any, Loaded] = WeakKeyDictionary()  # as one task may be run on several

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        passages = [Passage(prefix, text) for prefix, text in state.metadata["passages"]]
        model = get_model()
        try:
            found = await _log_probs(model, passages, models, adapter, tokenizer)
        except UnscorableError as error:
            if not skip_invalid:
                raise
            state.store.set(UNSCORABLE, str(error))
            return state
        state.store.set(FOUND, [[one.log_prob, one.tokens] for one in found])
        sums = [one.log_prob for one in found]
        likeliest = passages[sums.index(max(sums))].text
        state.output = ModelOutput.from_content(str(model), likeliest)
        return state

    return solve


async def _log_probs(
    model: Model,
    passages: Sequence[Passage],
    models: "WeakKeyDictionary[Any, Loaded]",
    adapter: str | None,
    tokenizer: str | None,
) -> "list[LogProb]":
    api = model.api
    here = getattr(api, "model", None)
    if not hasattr(here, "named_parameters"):
        return await _served_log_probs(model, passages, adapter, tokenizer)
    from biasunlearn.models.load import load
    from biasunlearn.scoring.log_prob import score

    if api not in models:
        spec = ModelSpec(str(model), given=here, tokenizer=getattr(api, "tokenizer", None), adapter=adapter)
        models[api] = load(spec)
    return score(models[api], passages)


async def _served_log_probs(
    model: Model, passages: Sequence[Passage], adapter: str | None, tokenizer: str | None
) -> "list[LogProb]":
    """Asks for the log-probabilities of token ids, so that the server tokenises nothing and adds no start token.

    Raises:
        PrerequisiteError: no tokenizer is named, or the provider does not return log-probabilities of a prompt.
    """
    from biasunlearn.models.batches import encode
    from biasunlearn.scoring.log_prob import Score as LogProb

    if adapter is not None:
        raise PrerequisiteError("-T adapter: only for hf/; a server has to load the adapter itself")
    if tokenizer is None:
        raise PrerequisiteError("-T tokenizer=FOLDER: needed for a served model, which is sent token ids")
    found = []
    for row in encode(_tokenizer(tokenizer), passages):
        asked = ChatMessageUser(content="", metadata={"prompt_token_ids": list(row.ids)})
        output = await model.generate([asked], config=PROMPT_LOG_PROBS)
        given = output.choices[0].prompt_logprobs if output.choices else None
        values = [] if given is None else [one.logprob for one in given.content]
        if len(values) != len(row.ids) - 1:  # the first token has none
            raise PrerequisiteError(
                f"{model}: {len(values)} log-probabilities for a prompt of {len(row.ids)} tokens; use hf/, or a server "
                "that returns prompt_logprobs from /completions (vllm-completions/, openai-api-completions/)"
            )
        scored = values[row.first_scored - 1 :]
        found.append(LogProb(sum(scored), len(scored)))
    return found


@lru_cache(maxsize=1)
def _tokenizer(name: str) -> Any:
    from biasunlearn.models.load import load_tokenizer

    with _one_line():
        return load_tokenizer(name)


# --- scores -------------------------------------------------------------------------------------------------------


@metric
def stereoset_scores() -> Metric:
    """SS, LMS and ICAT with the ends of their 95 % intervals, overall and by bias type."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        result = stereoset_benchmark.entry(_items(scores))
        return _flat(result.overall, result.bias_types, stereoset_benchmark.IDEAL)

    return compute


@metric
def bbq_scores() -> Metric:
    """Accuracies, s_amb and s_dis with the ends of their 95 % intervals, overall and by category."""

    def compute(scores: list[SampleScore]) -> dict[str, float]:
        ideal = bbq_benchmark.IDEAL
        found = bbq_benchmark.outcomes(_items(scores))  # by text alone; the names of other scores have a suffix
        result = panel(BBQResult, found, version=bbq_benchmark.VERSION, formulation="", ideal=ideal)
        return _flat(result.overall, result.bias_types, ideal)

    return compute


@scorer(metrics=[stereoset_scores()])
def stereotype_likelier() -> Scorer:
    """100 where the stereotype has the higher mean log-probability of a token, else 0."""

    async def score(state: TaskState, target: Target) -> Score:
        return _score(state, lambda items: 100.0 * (items[0].score > items[1].score))

    return score


@scorer(metrics=[bbq_scores()])
def right_answer() -> Scorer:
    """100 where the right answer is the likeliest one, else 0."""

    async def score(state: TaskState, target: Target) -> Score:
        return _score(state, lambda items: _right(max(items, key=lambda item: item.log_prob)))

    return score


def _right(chosen: Item) -> float:
    return 100.0 * (chosen.role == bbq_benchmark.RIGHT[chosen.condition])


def _score(state: TaskState, value: Callable[[Sequence[Item]], float]) -> Score:
    """The score of a sample, with its items; none where the model cannot score it."""
    if reason := state.store.get(UNSCORABLE):
        return Score.unscored(explanation=reason)
    found = state.store.get(FOUND)
    rows = [{**row, "score": total / tokens, "tokens": tokens}
            for row, (total, tokens) in zip(state.metadata["items"], found, strict=True)]  # fmt: skip
    return Score(value=value([Item(**row) for row in rows]), answer=state.output.completion, metadata={"items": rows})


def _items(scores: Sequence[SampleScore]) -> list[Item]:
    return [Item(**row) for one in scores for row in (one.score.metadata or {})["items"]]


def _flat(overall: Any, bias_types: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    """{name, name_low, name_high, and the same with _BIAS TYPE: value} of the scores that are defined."""
    found: dict[str, float] = {}
    for suffix, row in {"": overall, **{f"_{name}": row for name, row in bias_types.items()}}.items():
        for name in names:
            if interval := row.interval(name):
                ends = {"": interval.value, "_low": interval.low, "_high": interval.high}
                found |= {f"{name}{suffix}{end}": value for end, value in ends.items()}
    return found


@contextmanager
def _one_line() -> Iterator[None]:
    """What the caller can fix is one line, and no traceback, in inspect_ai as well."""
    try:
        yield
    except RequestError as error:
        raise PrerequisiteError(str(error)) from None
