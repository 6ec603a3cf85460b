"""Base and debiased model side by side on a prompt, and on the same prompt about another group.

A prompt is the beginning of a sentence, or a sentence with BLANK in it. After a beginning, the probability of a word is
that of its tokens. In a BLANK, a word is scored with the rest of the sentence, and the words shown add up to 100 %.
A list of attributes is compared in the same way, in the prompt about either group.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from biasunlearn.data.counterfactual import counterfactual
from biasunlearn.data.records import BLANK, Passage
from biasunlearn.data.term_lists import TermList, load_term_list
from biasunlearn.data.term_matches import CannotSwap
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_scale import scaled
from biasunlearn.models.batches import TokenRow, collate, encode, start_token
from biasunlearn.models.forward import evaluating, logits_at
from biasunlearn.models.load import Loaded
from biasunlearn.models.spec import AS_THE_RUN, Loading, spec_of_run
from biasunlearn.scoring.generate import generate
from biasunlearn.scoring.log_prob import score
from biasunlearn.scoring.protocol import Sampling
from biasunlearn.stats.prompt_change import PromptChange, prompt_change, total_variation

STATES = ("base", "debiased")

WORDS = 8
"""Likeliest words of each of the two models that are compared."""

WORD_TOKENS = 4
"""Largest number of tokens of a word."""

NEW_TOKENS = 24
LONGEST = 400
"""Characters of a prompt."""

ATTRIBUTES = 20
"""Largest number of attributes that are compared."""
LONGEST_ATTRIBUTE = 60
"""Characters of an attribute."""

NAMES = (
    ("John", "Mary"), ("James", "Emily"), ("Michael", "Sarah"), ("David", "Anna"), ("Paul", "Laura"),
    ("Daniel", "Julia"), ("Thomas", "Alice"), ("Peter", "Susan"), ("George", "Helen"), ("Mark", "Lisa"),
)  # fmt: skip
"""First names that are swapped like gender terms here, but not in training pairs."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The outputs of both models for one prompt."""

    prompt: str
    words: tuple[tuple[str, float, float], ...]
    """(word, probability by the base, by the debiased model), the likeliest first."""
    completions: Mapping[str, str]
    """By state; empty where the prompt has a BLANK."""
    change: PromptChange = PromptChange(0.0)
    """How far the two models differ on this prompt."""


@dataclass(frozen=True, slots=True)
class AttributeRow:
    """How likely an attribute is in the prompt as written and, if there is one, in the prompt about the other group."""

    attribute: str
    probabilities: tuple[tuple[float, float], ...]
    """(by the base model, by the debiased model), one for each prompt; in a BLANK, shares of the attributes."""


def side_by_side(loaded: Loaded, adapter: str, prompt: str, seed: int = 0) -> Seen:
    """Next words and completions of the model with its adapter off and on.

    Args:
        adapter: name of the debiasing LoRA.
        seed: of the completion, which is drawn.
    Raises:
        RequestError: no prompt, a very long one, or more than one BLANK.
    """
    prompt = _checked(prompt)
    head, blank, _ = prompt.partition(BLANK)
    scales = _scales()
    words: list[str] = []
    following = []
    ids = _ids(loaded, head.rstrip())
    for scale in scales.values():
        with scaled(loaded.model, scale, adapter):
            logits = _next_logits(loaded, ids)
            words += _likely_words(loaded, ids, logits)
            following.append(logits.double().softmax(-1).tolist())
    words = list(dict.fromkeys(words))
    found, written = {}, {}
    for state, scale in scales.items():
        with scaled(loaded.model, scale, adapter):
            found[state] = _probabilities(loaded, prompt, words)
            if not blank:
                few = Sampling(continuations=1, new_tokens=NEW_TOKENS, temperature=0.7, seed=seed)
                written[state] = generate(loaded, [prompt], few)[0][0].text
    rows = sorted(zip(words, found["base"], found["debiased"], strict=True), key=lambda row: -max(row[1:]))
    if blank:
        distance = total_variation(found["base"], found["debiased"])
        return Seen(prompt, tuple(rows), written, prompt_change(rows, distance))
    texts = written["base"], written["debiased"]
    with scaled(loaded.model, scales["base"], adapter):
        surprise = _surprise(loaded, prompt, texts)
    return Seen(prompt, tuple(rows), written, prompt_change(rows, total_variation(*following), texts, surprise))


def attribute_rows(
    loaded: Loaded, adapter: str, prompts: Sequence[str], attributes: Sequence[str]
) -> list[AttributeRow]:
    """The probability of each attribute in each prompt, by the model with its adapter off and on.

    Args:
        adapter: name of the debiasing LoRA.
        prompts: one prompt, or the same one about two groups; all with a BLANK or all without.
    Raises:
        RequestError: no prompt, a very long one, or more than one BLANK.
    """
    prompts = [_checked(prompt) for prompt in prompts]
    states = []
    for scale in _scales().values():
        with scaled(loaded.model, scale, adapter):
            states.append([_probabilities(loaded, prompt, attributes) for prompt in prompts])
    base, debiased = states
    return [
        AttributeRow(attribute, tuple((base[place][n], debiased[place][n]) for place in range(len(prompts))))
        for n, attribute in enumerate(attributes)
    ]


def read_attributes(text: str) -> list[str]:
    """A list of words or phrases that commas or line ends separate; one that occurs twice is compared once.

    Raises:
        RequestError: more than `ATTRIBUTES` of them, or a very long one.
    """
    found = list(dict.fromkeys(" ".join(part.split()) for part in text.replace("\n", ",").split(",") if part.strip()))
    if len(found) > ATTRIBUTES:
        raise RequestError(f"the list has {len(found)} attributes; {ATTRIBUTES} are compared at most")
    for one in found:
        if len(one) > LONGEST_ATTRIBUTE:
            length = f"an attribute has {len(one)} characters"
            raise RequestError(f"{length}, and {LONGEST_ATTRIBUTE} are read at most; commas separate them")
    return found


def _likely_words(loaded: Loaded, ids: Sequence[int], logits: torch.Tensor) -> list[str]:
    """The likeliest next words after these tokens: each of the likeliest next tokens, completed to a word."""
    found = []
    for token in logits.topk(2 * WORDS).indices.tolist():
        word = _whole_word(loaded, ids, token)
        if word and word[0].isalnum():
            found.append(word)
    return list(dict.fromkeys(found))[:WORDS]


def swapped(prompt: str, terms: TermList) -> tuple[str | None, str]:
    """The prompt about the other group, or None and the reason."""
    try:
        other = counterfactual(prompt, terms)
    except CannotSwap as reason:
        return None, str(reason)
    return (other, "") if other != prompt else (None, "it names no group of this list")


def term_list(name: str) -> TermList:
    """A shipped or own term list; first names are added to the gender terms."""
    terms = load_term_list(name)
    if not terms.pronouns:
        return terms
    ours = {one.casefold() for pair in NAMES for one in pair}
    known = {one.casefold() for pair in terms.pairs for one in pair}
    names = tuple(pair for pair in NAMES if not {one.casefold() for one in pair} & known)
    clashes = tuple(term for term in terms.clashes if term.casefold() not in ours)
    return replace(terms, pairs=(*terms.pairs, *names), clashes=clashes)


def _scales() -> dict[str, float]:
    return dict(zip(STATES, (0.0, 1.0), strict=True))


def _probabilities(loaded: Loaded, prompt: str, words: Sequence[str]) -> list[float]:
    """Probability of each word after the prompt, or its share of these words in the BLANK of the prompt."""
    head, blank, tail = prompt.partition(BLANK)
    space = " " if head.strip() else ""
    passages = [Passage(head.rstrip(), f"{space}{word}{tail if blank else ''}") for word in words]
    logs = [one.log_prob for one in score(loaded, passages)] if passages else []
    return _shares(logs) if blank else [math.exp(value) for value in logs]


def _surprise(loaded: Loaded, prompt: str, texts: tuple[str, str]) -> float | None:
    """See PromptChange.surprise; None where one of the two models wrote nothing."""
    if not all(text.strip() for text in texts):
        return None
    own, other = score(loaded, [Passage(prompt, text) for text in texts])
    return own.mean - other.mean


def _checked(prompt: str) -> str:
    prompt = " ".join(prompt.split())
    if not prompt:
        raise RequestError("write the beginning of a sentence, or a sentence with BLANK in it")
    if len(prompt) > LONGEST:
        raise RequestError(f"the prompt has {len(prompt)} characters; {LONGEST} are read at most")
    if prompt.count(BLANK) > 1:
        raise RequestError("the prompt has more than one BLANK")
    return prompt


def _ids(loaded: Loaded, text: str) -> tuple[int, ...]:
    if text:
        return encode(loaded.tokenizer, [Passage("", text)], chat=loaded.chat)[0].ids
    start = start_token(loaded.tokenizer)
    if start is None:
        raise RequestError("this model's tokenizer has no start token: write something before the BLANK")
    return (start,)


def _next_logits(loaded: Loaded, ids: Sequence[int]) -> torch.Tensor:
    """Logits of the token after these: [vocabulary]."""
    row = TokenRow((*ids, ids[-1]), len(ids))  # a row ends with a scored token; its id does not matter
    with evaluating(loaded.model):
        return logits_at(loaded.model, collate([row], device=loaded.device))[0].float()


def _whole_word(loaded: Loaded, ids: Sequence[int], token: int) -> str:
    """The word that begins with a token; "" for a special token or one that continues the word before it."""
    tokenizer = loaded.tokenizer
    if token in tokenizer.all_special_ids:
        return ""
    before = tokenizer.decode(list(ids), skip_special_tokens=True)

    def behind(tokens: Sequence[int]) -> str:
        return str(tokenizer.decode([*ids, *tokens], skip_special_tokens=True))[len(before) :]

    word = [token]
    if before.strip() and not behind(word)[:1].isspace():
        return ""
    while len(word) < WORD_TOKENS:
        following = int(_next_logits(loaded, [*ids, *word]).argmax())
        longer = behind([*word, following])
        if following in tokenizer.all_special_ids or not longer.strip().replace("-", "a").replace("'", "a").isalnum():
            break
        word.append(following)
    return behind(word).strip()


def _shares(logs: Sequence[float]) -> list[float]:
    values: list[float] = torch.tensor(list(logs), dtype=torch.float64).softmax(-1).tolist()
    return values


def open_run(run: Any, loading: Loading = AS_THE_RUN) -> tuple[Loaded, str]:
    """The model of a debias, transfer or combine run with its adapter on, and the name of that adapter."""
    from biasunlearn.models.adapter_target import DEBIASING, debiased, open_target
    from biasunlearn.runs.folder import RunFolder

    folder = RunFolder(run)
    results = folder.read_results()
    if not (folder.adapter / "adapter_config.json").exists():
        raise RequestError(f"{run}: has no adapter to switch off and on; give a debias, transfer or combine run")
    target = open_target(spec_of_run(folder, results, loading))
    if target.kind.endswith("tuning"):
        raise RequestError(f"{run}: its target has a tuned prompt ({target.kind}), which the playground cannot show")
    return debiased(target, folder.adapter), DEBIASING
