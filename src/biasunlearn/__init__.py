"""biasunlearn: measure the social bias of a language model, unlearn it, and report both.

    from biasunlearn import DebiasConfig, debias, measure

Importing the package imports neither torch nor any of its own modules; the first use of a name imports what it needs.
Everything else is imported from the package that holds it, as in `from biasunlearn.commands.survey import survey`.
"""

from typing import TYPE_CHECKING, Any

from biasunlearn._version import __version__

if TYPE_CHECKING:
    from biasunlearn.commands.compare import compare
    from biasunlearn.commands.debias import debias
    from biasunlearn.commands.export import export
    from biasunlearn.commands.gate import gate
    from biasunlearn.commands.measure import measure
    from biasunlearn.commands.report import write_report
    from biasunlearn.commands.transfer import transfer
    from biasunlearn.config import DebiasConfig, load_config
    from biasunlearn.data.readers import read_triplets as load_stereoset
    from biasunlearn.errors import DataError, RequestError
    from biasunlearn.runs.results import load_results

__all__ = [
    "DataError",
    "DebiasConfig",
    "RequestError",
    "__version__",
    "compare",
    "debias",
    "export",
    "gate",
    "load_config",
    "load_results",
    "load_stereoset",
    "measure",
    "transfer",
    "write_report",
]

_PLACES = {
    "DataError": "errors:DataError",
    "DebiasConfig": "config:DebiasConfig",
    "RequestError": "errors:RequestError",
    "compare": "commands.compare:compare",
    "debias": "commands.debias:debias",
    "export": "commands.export:export",
    "gate": "commands.gate:gate",
    "load_config": "config:load_config",
    "load_results": "runs.results:load_results",
    "load_stereoset": "data.readers:read_triplets",
    "measure": "commands.measure:measure",
    "transfer": "commands.transfer:transfer",
    "write_report": "commands.report:write_report",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for tab completion."""
    return sorted(__all__)
