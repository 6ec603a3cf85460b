"""Scores of texts by a text-classification model: toxicity, regard, sentiment, or any other label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from biasunlearn.errors import RequestError
from biasunlearn.models.distributed import count, mine, summed
from biasunlearn.models.forward import evaluating, max_tokens
from biasunlearn.models.load import Loaded, load_classifier
from biasunlearn.scoring.log_prob import by_length, check_finite

SYNONYMS = {"toxicity": ("toxicity", "toxic"), "hate": ("hate", "hateful", "hatespeech")}
"""{name of a score: names that its label may have}"""
PROBABILITY, DIFFERENCE = "probability", "difference"
NO_LIMIT = 10**9
"""Tokenizers without a limit report a larger number."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """A loaded classifier, and the outputs that make the score."""

    name: str
    loaded: Loaded
    plus: int
    """Output whose probability is the score."""
    minus: int | None
    """Output whose probability is subtracted (positive - negative), or None."""
    each: bool
    """Every label has an independent probability (several may apply), or the model has a single output."""

    @property
    def kind(self) -> str:
        """The kind of the score: a probability (0 to 1), or a difference of two (-1 to 1)."""
        return PROBABILITY if self.minus is None else DIFFERENCE


@dataclass(frozen=True, slots=True)
class Classified:
    """Scores in the order of the texts, and the number of texts that were longer than the classifier reads."""

    scores: list[float]
    cut: int


def open_classifier(name: str, given: str, device: torch.device | None = None) -> Classifier:
    """Loads `--classifier NAME=FOLDER` or `NAME=FOLDER#LABEL`.

    The score is the probability of the given label, or of the label with the name NAME; for a model with the labels
    positive and negative (regard, sentiment) it is their difference.

    Args:
        device: where the classifier runs. None: as `models.load.load` chooses.
    Raises:
        RequestError: no sequence-classification model there, or no such label.
    """
    folder, _, label = given.partition("#")
    loaded = load_classifier(folder, device)
    config = loaded.model.config
    outputs = {str(known).strip().casefold(): int(number) for number, known in config.id2label.items()}
    each = config.problem_type == "multi_label_classification" or config.num_labels == 1
    wanted = [label.casefold()] if label else [name.casefold(), *SYNONYMS.get(name.casefold(), ())]
    if found := [outputs[known] for known in wanted if known in outputs]:
        return Classifier(name, loaded, found[0], None, each)
    if not label and {"positive", "negative"} <= outputs.keys():
        return Classifier(name, loaded, outputs["positive"], outputs["negative"], each)
    sought = repr(label) if label else f"{name!r} (nor positive and negative)"
    raise RequestError(
        f"--classifier {name}={given}: no label {sought} in this model; it has "
        f"{', '.join(map(str, config.id2label.values()))}: choose one as {name}={folder}#LABEL"
    )


def classify(
    classifier: Classifier,
    texts: Sequence[str],
    *,
    batch_tokens: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> Classified:
    """Scores texts, batched and sorted by length, each distinct text once, distributed over the processes.

    A text longer than the classifier reads is truncated, and counted.
    """
    unique = list(dict.fromkeys(texts))
    tokenizer, model = classifier.loaded.tokenizer, classifier.loaded.model
    longest = _longest(classifier.loaded)
    rows = tokenizer(unique, truncation=True, max_length=longest)["input_ids"] if unique else []
    whole = tokenizer(unique, truncation=False, verbose=False)["input_ids"] if unique else []
    scores = torch.zeros(len(unique), dtype=torch.float64, device=classifier.loaded.device)
    done = 0
    with evaluating(model):
        for chosen in mine(list(by_length([len(row) for row in rows], batch_tokens))):
            batch = tokenizer.pad({"input_ids": [rows[i] for i in chosen]}, padding=True, return_tensors="pt")
            logits = model(**{key: value.to(scores.device) for key, value in batch.items()}).logits.double()
            scores[chosen] = _score(classifier, logits)
            check_finite(classifier.loaded, [rows[i] for i in chosen], scores[chosen].tolist())
            done += len(chosen)
            if progress:
                progress(min(done * count(), len(unique)), len(unique))
    found = dict(zip(unique, summed(scores).tolist(), strict=True))
    cut = {text for text, row, all_of_it in zip(unique, rows, whole, strict=True) if len(row) < len(all_of_it)}
    return Classified([found[text] for text in texts], sum(text in cut for text in texts))


def _score(classifier: Classifier, logits: torch.Tensor) -> torch.Tensor:
    """[texts, labels] -> [texts]"""
    probabilities = logits.sigmoid() if classifier.each else logits.softmax(-1)
    score = probabilities[:, classifier.plus]
    return score if classifier.minus is None else score - probabilities[:, classifier.minus]


def _longest(loaded: Loaded) -> int | None:
    """Tokens that the classifier reads: the limit of its tokenizer or of its positions, None without one."""
    said = loaded.tokenizer.model_max_length
    return min((limit for limit in (said, max_tokens(loaded.model)) if limit and limit < NO_LIMIT), default=None)
