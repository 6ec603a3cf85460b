"""Options that several commands share, each declared once: its type, its default and its help."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from biasunlearn.errors import RequestError

if TYPE_CHECKING:
    from biasunlearn.scoring.protocol import EvalOptions

DATA = Group.create_ordered("Data")
MODEL = Group.create_ordered("Model")
TRAINING = Group.create_ordered("Training")
EVALUATION = Group.create_ordered("Evaluation")
SETTINGS = Group.create_ordered("Settings")
OUTPUT = Group.create_ordered("Output")

# --- kinds of values --------------------------------------------------------------------------------


def integer(kind: Any, tokens: Any) -> int:
    """The integer that a word is. Raises ValueError for 1.5, which cyclopts by itself would round to 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError("not an integer") from None


Folder = Annotated[str, Parameter(metavar="DIR")]
File = Annotated[str, Parameter(metavar="FILE")]
DataPath = Annotated[str, Parameter(metavar="PATH")]
Integer = Annotated[int, Parameter(metavar="N", converter=integer)]
Integers = Annotated[tuple[Integer, ...], Parameter(metavar="N...", consume_multiple=(1, None))]
"""One word or several: --seeds 0 1 2, or --seeds 0 --seeds 1."""
Names = Annotated[tuple[str, ...], Parameter(metavar="NAME...", consume_multiple=(1, None))]
Benchmarks = Annotated[tuple[str, ...], Parameter(name="--benchmark", metavar="NAME=PATH", group=DATA)]
Dtype = Literal["float32", "bfloat16", "float16", "8bit", "4bit"]
"""As in config.py, which is not imported before a command runs."""

Model = Annotated[str, Parameter(name="MODEL")]
Run = Annotated[str, Parameter(name="RUN")]
Runs = Annotated[tuple[str, ...], Parameter(name="RUN", consume_multiple=(1, None))]

# --- options ----------------------------------------------------------------------------------------


@Parameter(name="*", group=OUTPUT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command prints.

    Args:
        json: Print the result as one JSON object on stdout, and nothing else there.
        arguments: YAML file with arguments of this command, as option: value lines. Those on the command line take
            precedence.
        traceback: Show the traceback of an unexpected error.
    """

    json: bool = False
    arguments: File | None = None
    traceback: bool = False


@Parameter(name="*", group=DATA)
@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """How data files are read.

    Args:
        skip_invalid: Drop invalid rows instead of stopping at them. They are counted and listed in the results.
    """

    skip_invalid: bool = False


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How a model is loaded.

    Args:
        trust_remote_code: Run code that the model's repository ships.
    """

    trust_remote_code: bool = False


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What every command takes that reads a model.

    Args:
        device: Device of the model: cpu, cuda, cuda:1, ... (default: the accelerator if there is one, else the CPU).
        dtype: Data type of the weights. 8bit and 4bit quantize them with bitsandbytes (default: float32, or that of the
            recipe or the run).
        batch_tokens: Maximum number of tokens in a scoring batch, padding included (default: 4096, or that of the
            recipe).
        revision: Branch, tag or commit of a model on the hub.
        seed: Random seed of everything that is drawn (default: 0, or that of the recipe).
        limit: Measure N items of each benchmark, a random sample with the same share of each bias type. The results are
            marked as partial, and gate does not accept them.
        resume: Continue an interrupted run in --out.
        overwrite: Replace a finished run in --out. It is removed once the new one has finished.
        quiet: Show no progress.
        verbose: Show progress as lines, one for every step.
    """

    device: Annotated[str | None, Parameter(metavar="DEVICE", group=MODEL)] = None
    dtype: Annotated[Dtype | None, Parameter(metavar="DTYPE", group=MODEL)] = None
    batch_tokens: Annotated[Integer | None, Parameter(group=MODEL)] = None
    revision: Annotated[str | None, Parameter(metavar="REVISION", group=MODEL)] = None
    seed: Annotated[Integer | None, Parameter(group=SETTINGS)] = None
    limit: Annotated[Integer | None, Parameter(group=EVALUATION)] = None
    resume: Annotated[bool, Parameter(group=OUTPUT)] = False
    overwrite: Annotated[bool, Parameter(group=OUTPUT)] = False
    quiet: Annotated[bool, Parameter(group=OUTPUT)] = False
    verbose: Annotated[bool, Parameter(group=OUTPUT)] = False

    def settings(self, given: tuple[str, ...]) -> list[str]:
        """The values of --set, with those of the options that stand for a setting of the recipe.

        Raises:
            RequestError: a setting is given both ways.
        """
        own = {"dtype": self.dtype, "batch_tokens": self.batch_tokens, "seed": self.seed}
        named = {one.partition("=")[0].strip() for one in given}
        for name, value in own.items():
            if value is not None and name in named:
                raise RequestError(f"--{name.replace('_', '-')}: also given as --set {name}; keep one of them")
        return [*(f"{name}={value}" for name, value in own.items() if value is not None), *given]

    def seeds(self, given: tuple[int, ...] | None, default: tuple[int, ...]) -> tuple[int, ...]:
        """The seeds of a command that runs with several: --seeds, or the one of --seed. RequestError for both."""
        if given is not None and self.seed is not None:
            raise RequestError("--seed: also given as --seeds; keep one of them")
        return given if given is not None else default if self.seed is None else (self.seed,)

    def loading(self) -> dict[str, Any]:
        """How the model of a stored run is to be loaded: the values of `models.spec.Loading`."""
        return {
            "device": self.device, "dtype": self.dtype, "batch_tokens": self.batch_tokens, "revision": self.revision
        }  # fmt: skip

    def refuse(self, why: str, *names: str) -> None:
        """RequestError where one of these options was given: a command for which they have no meaning says why."""
        for name in names:
            if getattr(self, name) not in (None, False):
                raise RequestError(f"--{name.replace('_', '-')}: {why}; leave it out")


@Parameter(name="*", group=EVALUATION)
@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How a model is evaluated, besides the benchmarks themselves.

    Args:
        chat_template: Format every prompt with the model's chat template (instruction-tuned models).
        classifier: Classifier that scores generated text, as in toxicity=owner/name. Append #LABEL to choose a
            label. May be repeated.
        limit_prompts: Use a seeded random sample of N prompts for the benchmarks that generate text.
        continuations: Continuations of each prompt (default: the number in the benchmark's paper).
        new_tokens: Maximum number of new tokens of a continuation (default: 20).
        sampling_seed: Random seed for the choice of prompts and for sampling (default: --seed, or 0).
        generations: Folder in which generated texts are stored and reused (default: generations/ in --out).
        lm_eval: Tasks of lm-eval to run as a measure of capability, by name or path. May be repeated.
        lm_eval_limit: Use the first N documents of each lm-eval task.
        replacements: Score every pair of StereoSet also about N other groups, which tells how much of its margin is due
            to the group (default: 4). 0 turns this off.
        term_list: Term list of your own (YAML or CSV). It names subgroups of target terms, whose SS is reported, and
            what a term may be replaced by. May be repeated.
        judge: Judge of answers in free text: rule, a model's folder or hub name, or an OpenAI-compatible endpoint as
            URL#MODEL, whose key is read from BIASUNLEARN_API_KEY. May be repeated: the judges are a panel, whose strict
            majority decides (default: rule).
        minimum_kappa: Agreement with the gold set beyond chance that the judges need; below it they are not used.
        stop_if_unusable: Do not ask the judges about the answers if they agree too little with the gold set, on which
            they are tried first. This saves calls.
        judge_tokens: Maximum number of tokens of a judge's reply (default: 64 for a label, 512 for a rating).
        budget: Maximum number of calls to endpoints.
        concurrency: Maximum number of calls to an endpoint at the same time.
        call_timeout: Seconds after which a call to an endpoint is given up and repeated.
        prompting: Baseline for judged benchmarks that changes what the model is asked and trains nothing: instruction,
            self_reflection or chain_of_thought.
        written_answers: In benchmarks of cognitive biases, also let the model write its answers and read them.
    """

    chat_template: bool = False
    classifier: Annotated[tuple[str, ...], Parameter(name="--classifier", metavar="NAME=MODEL")] = ()
    limit_prompts: Integer | None = None
    continuations: Integer | None = None
    new_tokens: Integer | None = None
    sampling_seed: Integer | None = None
    generations: Folder | None = None
    lm_eval: Annotated[tuple[str, ...], Parameter(name="--lm-eval", metavar="TASK[,TASK]")] = ()
    lm_eval_limit: Integer | None = None
    replacements: Integer = 4
    term_list: Annotated[tuple[str, ...], Parameter(name="--term-list", metavar="FILE")] = ()
    judge: Annotated[tuple[str, ...], Parameter(name="--judge", metavar="JUDGE")] = ()
    minimum_kappa: Annotated[float, Parameter(metavar="X")] = 0.6
    stop_if_unusable: bool = False
    judge_tokens: Integer | None = None
    budget: Integer | None = None
    concurrency: Integer = 8
    call_timeout: Annotated[float, Parameter(metavar="SECONDS")] = 120.0
    prompting: Annotated[str | None, Parameter(metavar="NAME")] = None
    written_answers: bool = False

    def to_options(self, execution: Execution) -> "EvalOptions":
        """The same as the library takes it, with the limit on the items."""
        from biasunlearn.scoring.protocol import EvalOptions

        return EvalOptions(
            chat_template=self.chat_template,
            classifiers=named_paths(self.classifier, "--classifier", "toxicity=owner/name"),
            limit_prompts=self.limit_prompts,
            continuations=self.continuations,
            new_tokens=self.new_tokens,
            seed=(execution.seed or 0) if self.sampling_seed is None else self.sampling_seed,
            limit=limit_of(execution),
            cache=None if self.generations is None else Path(self.generations),
            lm_eval=tuple(task for given in self.lm_eval for task in given.split(",") if task),
            lm_eval_limit=self.lm_eval_limit,
            replacements=self.replacements,
            term_lists=self.term_list,
            judges=self.judge,
            minimum_kappa=self.minimum_kappa,
            stop_if_unusable=self.stop_if_unusable,
            judge_tokens=self.judge_tokens,
            budget=self.budget,
            concurrency=self.concurrency,
            call_timeout=self.call_timeout,
            prompting=self.prompting,
            written_answers=self.written_answers,
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What every command that trains takes.

    Args:
        train: Training pairs: stereotypes and anti-stereotypes. Required.
        unrelated: Unrelated sentences: a file of triplets that have them, or a .txt file of sentences. May be repeated:
            every file has the same share of each step.
        report: Triplets or pairs to report on. They are never trained on. Required.
        benchmark: Further benchmark to measure before and after, as in perplexity=text.txt. May be repeated.
        config: Recipe: a YAML file, or the name of a recipe that is shipped (default: biasunlearn).
        set: Change one setting of the recipe. May be repeated.
        out: Folder to write the results to.
    """

    train: Annotated[DataPath | None, Parameter(group=DATA)] = None
    unrelated: Annotated[tuple[str, ...], Parameter(metavar="PATH", group=DATA)] = ()
    report: Annotated[DataPath | None, Parameter(group=DATA)] = None
    benchmark: Benchmarks = ()
    config: Annotated[File | None, Parameter(group=TRAINING)] = None
    set: Annotated[tuple[str, ...], Parameter(name="--set", metavar="KEY=VALUE", group=TRAINING)] = ()
    out: Annotated[Folder, Parameter(group=OUTPUT)]

    @property
    def unrelated_files(self) -> tuple[Path, ...] | None:
        """The files with unrelated sentences; None where there are none."""
        return tuple(map(Path, self.unrelated)) or None

    @property
    def files(self) -> tuple[str, str]:
        """The training pairs and the report. RequestError where one of them is not given."""
        if self.train is None or self.report is None:
            missing = "--train" if self.train is None else "--report"
            raise RequestError(f"{missing}: not given; give a file of pairs, as in {missing} pairs.jsonl")
        return self.train, self.report


def limit_of(execution: Execution) -> int | None:
    """The limit on the items. RequestError for one below 1."""
    if execution.limit is not None and execution.limit < 1:
        raise RequestError(f"--limit {execution.limit}: must be at least 1")
    return execution.limit


# --- values of the form NAME=VALUE -------------------------------------------------------------------


def with_responses(benchmarks: tuple[str, ...], responses: tuple[str, ...]) -> tuple[str, ...]:
    """Benchmarks as NAME=PATH, with those of --responses, where a path alone is a file of own prompts.

    Raises:
        RequestError: a benchmark is given twice.
    """
    from biasunlearn.commands.evaluation import judged_paths

    found = judged_paths(responses)
    if twice := next((name for one in benchmarks if (name := one.partition("=")[0]) in found), None):
        raise RequestError(f"--responses {twice}: also given with --benchmark; leave one of the two out")
    return (*benchmarks, *(f"{name}={path}" for name, path in found.items()))


def named_paths(
    pairs: tuple[str, ...], option: str = "--benchmark", example: str = "stereoset=dev.json"
) -> dict[str, str]:
    """{"stereoset": "dev.json"} of ("stereoset=dev.json",).

    Args:
        option: the option that the pairs were given with, and `example` a correct value of it, for messages.
    Raises:
        RequestError: a pair is not of this form, or a name is given twice.
    """
    named: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not path or not name:
            raise RequestError(f"{option} {pair}: write NAME=PATH, as in {example}")
        if name in named:
            raise RequestError(f"{option} {name}: given twice")
        named[name] = path
    return named
