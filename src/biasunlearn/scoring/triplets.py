"""The scores of the sentences of triplets, as StereoSet and the evaluations of the stop split use them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from biasunlearn.data.records import Role, Sentence, Triplet
from biasunlearn.stats.stereoset import Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded
    from biasunlearn.scoring.log_prob import Score

RoleSentence = tuple[Triplet, Role, Sentence]


def role_sentences(triplets: Sequence[Triplet]) -> list[RoleSentence]:
    """The sentences of all triplets, with their roles, in order."""
    return [(triplet, role, sentence) for triplet in triplets for role, sentence in triplet.sentences()]


def sentence_items(sentences: Sequence[RoleSentence], found: "Sequence[Score]") -> list[Item]:
    """An item of each sentence with its score."""
    return [
        Item(
            benchmark="stereoset",
            item_id=sentence.id,
            cluster_id=triplet.id,
            bias_type=triplet.bias_type,
            target=triplet.target or triplet.context or triplet.id,
            kind=triplet.kind,
            role=role,
            score=one.mean,
            tokens=one.tokens,
        )
        for (triplet, role, sentence), one in zip(sentences, found, strict=True)
    ]


def score_sentences(loaded: "Loaded", triplets: Sequence[Triplet]) -> list[Item]:
    """Scores every sentence of every triplet, all of its tokens.

    Raises:
        UnscorableError: sentences that the model cannot score.
    """
    from biasunlearn.scoring.log_prob import score

    sentences = role_sentences(triplets)
    return sentence_items(sentences, score(loaded, [one.whole(sentence) for one, _, sentence in sentences]))
