"""The files of --benchmark; a benchmark that is named without a file is read from the hub."""

from biasunlearn.cli.options import named_paths
from biasunlearn.cli.output import note
from biasunlearn.data.hub_copies import hub_copy


def benchmark_paths(benchmarks: tuple[str, ...]) -> dict[str, str]:
    """{"stereoset": "dev.json"} of ("stereoset=dev.json",). A message names the copy on the hub and its licence.

    Raises:
        RequestError: as `named_paths`; a benchmark without a file and without a copy.
    """
    return named_paths(tuple(one if "=" in one else f"{one}={_of_the_hub(one)}" for one in benchmarks))


def _of_the_hub(benchmark: str) -> str:
    found = hub_copy(benchmark)
    note(f"{benchmark}: {found.name} on the hub, revision {found.revision[:12]}, licence {found.license}")
    return found.path
