"""What a caller gives in Python: models and tables in memory beside paths, and their names in a request."""

from collections.abc import Mapping
from typing import Any

from biasunlearn.benchmarks import TABLES
from biasunlearn.data.tables import MemoryTable, table_given
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec


def tables_given(benchmarks: Mapping[str, Any]) -> dict[str, str | MemoryTable]:
    """{benchmark: its path, or its rows in memory}.

    Raises:
        RequestError: not a mapping, or rows for a benchmark that is made of several files.
    """
    if not isinstance(benchmarks, Mapping):
        raise RequestError(
            f'benchmarks: must be a dict such as {{"stereoset": data}}, is {type(benchmarks).__name__}'
        )
    found = {str(name): table_given(data, str(name)) for name, data in benchmarks.items()}
    for name, data in found.items():
        if isinstance(data, MemoryTable) and name not in TABLES:
            raise RequestError(f"{name}: needs the path of its files; in memory are possible {', '.join(TABLES)}")
    return found


def names_of(benchmarks: Mapping[str, str | MemoryTable]) -> dict[str, str]:
    """The same for config.yaml: rows in memory as their kind, number and hash."""
    return {name: str(data) for name, data in benchmarks.items()}


def named_in_request(spec: ModelSpec, *, stored: bool = True) -> dict[str, str]:
    """{"model": its name}, and the hash of the weights of a model that the caller gave, where the run is stored."""
    if spec.given is None or not stored:
        return {"model": spec.model}
    from biasunlearn.models.weights_hash import weights_hash

    return {"model": spec.model, "weights": weights_hash(spec.given)}
