"""Benchmarks with a copy on the Hugging Face hub, which is read where a benchmark is named without a file.

The revision is fixed, so that the same items are measured whenever that is done.
"""

from dataclasses import dataclass

from biasunlearn.errors import RequestError


@dataclass(frozen=True, slots=True)
class HubCopy:
    """A data set of the hub at a commit."""

    name: str
    revision: str
    license: str

    @property
    def path(self) -> str:
        """As the readers take it."""
        return f"{self.name}@{self.revision}"


COPIES = {
    "stereoset": HubCopy("McGill-NLP/stereoset", "bf6e7ce50491784d094fb7afe60a70ecccb89035", "CC BY-SA 4.0"),
    "realtoxicityprompts": HubCopy(
        "allenai/real-toxicity-prompts", "88a5d7954c54f31e153959c2db98e15cf5cbec01", "Apache-2.0"
    ),
}


def hub_copy(benchmark: str) -> HubCopy:
    """The copy of a benchmark. RequestError for a benchmark that has none here."""
    if benchmark not in COPIES:
        raise RequestError(
            f"--benchmark {benchmark}: give its file, as in {benchmark}=PATH; without one, the copy on the hub is read "
            f"of {', '.join(COPIES)}"
        )
    return COPIES[benchmark]
