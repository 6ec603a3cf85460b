"""Training pairs about groups of the report file: which are left out, and how many of the rest share a term family."""

from collections import Counter
from collections.abc import Mapping, Sequence

from biasunlearn.config import DebiasConfig
from biasunlearn.data.families import Families, load_families, shipped_families
from biasunlearn.data.records import Triplet
from biasunlearn.data.splits import group_counts, groups_of
from biasunlearn.errors import RequestError


def families_of(config: DebiasConfig) -> Families | None:
    """The term families of a recipe; None where every target term is a group of its own.

    Raises:
        RequestError: the file of families is missing or wrong.
    """
    if config.term_families == "none":
        return None
    return shipped_families() if config.term_families == "shipped" else load_families(config.term_families)


def unseen_pairs(
    triplets: Sequence[Triplet], report: Sequence[Triplet], config: DebiasConfig, families: Families | None
) -> list[Triplet]:
    """The pairs that are not about a target term (`dropped`: a term family) of the report file."""
    if config.shared_terms == "kept":
        return list(triplets)
    by = families if config.shared_terms == "dropped" else None
    reported = set(groups_of(report, by))
    unseen = [c for c, group in zip(triplets, groups_of(triplets, by), strict=True) if group not in reported]
    if gone := sorted({c.bias_type for c in triplets} - {c.bias_type for c in unseen}):
        names = sorted({c.target for c in triplets if c.bias_type == gone[0] and c.target})
        some = f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""
        about, other = "is about a target term", "kept"
        if by is not None:
            about, other = "shares a term family with a pair", "term_dropped"
        raise RequestError(
            f"every training pair of bias type {gone[0]!r}{some} {about} of the report file, so that none is left; "
            f"give pairs about other groups, leave this bias type out, or --set shared_terms={other}"
        )
    return unseen


def left_out_finding(triplets: Sequence[Triplet], unseen: Sequence[Triplet], config: DebiasConfig) -> list[str]:
    """How many pairs were left out because of the report file, and what is left of each bias type."""
    if len(unseen) == len(triplets):
        return []
    left, of = Counter(c.bias_type for c in unseen), Counter(c.bias_type for c in triplets)
    counts = ", ".join(f"{name} {left[name]} of {of[name]}" for name in sorted(of))
    what = "a term family" if config.shared_terms == "dropped" else "a target term"
    return [
        f"{len(triplets) - len(unseen)} training pairs share {what} with the report file and were left out "
        f"(shared_terms: {config.shared_terms}); left: {counts}"
    ]


def in_common_families(
    train: Sequence[Triplet], report: Sequence[Triplet], families: Families | None
) -> tuple[dict[str, int], dict[str, int]]:
    """Training pairs that share a term family with the report file, and report pairs that do with training, by type."""
    groups = tuple(group_counts(part, families) for part in (train, report))
    both = groups[0].keys() & groups[1].keys()
    of_train, of_report = (_by_type({group: pairs[group] for group in both}) for pairs in groups)
    return of_train, of_report


def _by_type(pairs: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """{bias type: pairs} of {(bias type, group): pairs}, by name."""
    counted: Counter[str] = Counter()
    for (bias_type, _), count in pairs.items():
        counted[bias_type] += count
    return dict(sorted(counted.items()))


def shared_families_finding(
    train: Sequence[Triplet], common: tuple[Mapping[str, int], Mapping[str, int]], config: DebiasConfig
) -> list[str]:
    """What is not unseen by meaning."""
    of_train, of_report = common
    if not of_train:
        return []
    counts = ", ".join(f"{name} {count}" for name, count in of_train.items())
    remedy = "" if config.shared_terms == "dropped" else "; --set shared_terms=dropped leaves them out of training"
    return [
        f"{sum(of_train.values())} of {len(train)} training pairs ({counts}) share a term family with "
        f"{sum(of_report.values())} report pairs: for those the group is not unseen, only the term may be{remedy}"
    ]
