"""StereoSet: how often the stereotype is likelier (SS), how often a meaningful sentence is (LMS), both in ICAT.

Paper          Nadeem, Bethke, Reddy 2020 (arXiv 2004.09456)
Data           the official JSON, the hub copy McGill-NLP/stereoset, or pairs of your own (then without LMS)
Formulation    causal: mean log-probability of all tokens of the candidate after one start token that is not scored
               (official). Masked: mean pseudo-log-likelihood of all tokens.
               Intersentence: mean log-probability of the second sentence given the first. This one is ours: the
               official score for it needs a next-sentence head.
Averaging      official: per target term, then the unweighted mean over terms
Ideal          SS 50, LMS 100, ICAT 100
Deviations     none on intrasentence: official prediction files give the published numbers to 1e-9 (`rescore`)
Version        1
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..data import read_clusters
from ..metrics import Item, stereoset_entry, stereoset_outcomes
from ..models import Loaded
from ..records import Cluster
from ..scoring import score

VERSION = 1

outcomes = stereoset_outcomes
"""Items -> outcomes, for paired tests."""

IDEALS = {"ss": 50.0, "lms": "higher", "margin": 0.0, "abs_margin": "lower"}
IDEALS |= {f"{score}_intersentence": ideal for score, ideal in IDEALS.items()}
"""A number: nearer is better."""

OVER_CLUSTERS = ("ss", "lms", "ss_intersentence", "lms_intersentence")
"""Scores that are means over target terms; the others are means over clusters of sentences."""


def run(
    loaded: Loaded,
    path: str,
    *,
    skip_invalid: bool = False,
    batch_tokens: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Item], dict[str, Any]]:
    """Scores a file of clusters. Returns its items and its entry of results.json."""
    data = read_clusters(path, skip_invalid=skip_invalid)
    items = score_clusters(loaded, data.clusters, batch_tokens=batch_tokens, progress=progress)
    result = {"version": VERSION, **stereoset_entry(items, skipped=len(data.skipped))}
    return items, {**result, "data": data.path, "sha256": data.sha256, "skipped_rows": list(data.skipped)}


def score_clusters(
    loaded: Loaded,
    clusters: Sequence[Cluster],
    *,
    batch_tokens: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> list[Item]:
    """Every sentence of every cluster through the scoring door. The stop rule uses this same function."""
    asked = [(cluster, role, sentence) for cluster in clusters for role, sentence in cluster.sentences()]
    passages = [cluster.whole(sentence) for cluster, _, sentence in asked]
    scores = score(loaded, passages, batch_tokens=batch_tokens, progress=progress)
    return [
        Item(
            benchmark="stereoset",
            item_id=sentence.id,
            cluster_id=cluster.id,
            bias_type=cluster.bias_type,
            target=cluster.target or cluster.context or cluster.id,
            kind=cluster.kind,
            role=role,
            score=found.mean,
            tokens=found.tokens,
        )
        for (cluster, role, sentence), found in zip(asked, scores, strict=True)
    ]
