"""Families of target terms: which terms name the same group, so that "unseen" means unseen by meaning.

A target term that training never saw may still have a twin there: *Syrian* beside *Syria*, *mommy* beside *mother*,
*Bible* beside *Christian*. Splits that are disjoint by term then overlap by meaning. Everything that has to be disjoint
is therefore grouped by `family_of`.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from biasunlearn.data.files import read_text
from biasunlearn.data.normal_text import bias_type_name, normal_text
from biasunlearn.errors import RequestError
from biasunlearn.strict_yaml import parse_yaml

SHIPPED = Path(__file__).with_name("families.yaml")

Families = Mapping[str, Mapping[str, str]]
"""{bias type: {normal form of a term: normal form of the first term of its family}}"""


def load_families(extension: str | Path | None = None) -> Families:
    """The shipped families, together with those of a file of the user's.

    Args:
        extension: a YAML file of `bias type: [[term, term, ...], ...]`. A family that shares a term with a shipped one
            is joined with it; a bias type of the user's own is added.
    Raises:
        RequestError: the file is missing, or not of this form.
    """
    groups = {bias_type: [list(group) for group in found] for bias_type, found in _read(SHIPPED).items()}
    if extension is not None:
        for bias_type, found in _read(Path(extension)).items():
            groups.setdefault(bias_type, []).extend(found)
    return {bias_type: _joined(found) for bias_type, found in groups.items()}


def family_of(bias_type: str, term: str, families: Families | None = None) -> str:
    """The name of a term's family: the normal form of its first member, or of the term itself where none is listed."""
    known = shipped_families() if families is None else families
    own = _normal_form(term)
    return known.get(_bias_type_name(bias_type), {}).get(own, own)


def normal_form(term: str) -> str:
    """A term without letter case, surplus spaces and a regular plural: "Puerto  Ricans" -> "puerto rican"."""
    folded = normal_text(term)
    if len(folded) > 3 and folded.endswith("s") and not folded.endswith(("ss", "us", "is", "'s")):
        folded = folded[:-1]
    return folded


# A file has few bias types and target terms, and each of them in many rows.
_normal_form = lru_cache(maxsize=2**16)(normal_form)
_bias_type_name = lru_cache(maxsize=2**12)(bias_type_name)


@lru_cache(maxsize=1)
def shipped_families() -> Families:
    """The list of this package, read once."""
    return load_families()


def _joined(groups: list[list[str]]) -> dict[str, str]:
    """Groups that share a term are one family, named after the first term that was listed."""
    name_of: dict[str, str] = {}
    for group in groups:
        members = [normal_form(term) for term in group]
        names = list(dict.fromkeys(name_of[m] for m in members if m in name_of))
        name = names[0] if names else members[0]
        for member, other in list(name_of.items()):
            if other in names:
                name_of[member] = name
        name_of.update(dict.fromkeys(members, name))
    return name_of


def _read(path: Path) -> dict[str, list[list[str]]]:
    content = parse_yaml(read_text(path), str(path))
    well_formed = isinstance(content, dict) and all(
        isinstance(groups, list)
        and all(isinstance(group, list) and group and all(isinstance(t, str) for t in group) for group in groups)
        for groups in content.values()
    )
    if not well_formed:
        raise RequestError(
            f"{path}: must hold `bias type: [[term, term, ...], ...]`, with quotes around yes, no and on"
        )
    return {bias_type_name(str(bias_type)): groups for bias_type, groups in content.items()}
