"""biasunlearn: measure a language model's social bias, unlearn it, and prove both.

    from biasunlearn import DebiasConfig, debias, measure, load_stereoset

Importing the package does not import torch; the first call does.
"""

from typing import TYPE_CHECKING, Any

from biasunlearn._version import __version__

if TYPE_CHECKING:
    from biasunlearn.commands.ablate import ablate
    from biasunlearn.commands.combine import combine
    from biasunlearn.commands.compare import compare
    from biasunlearn.commands.debias import debias
    from biasunlearn.commands.disentangle import disentangle
    from biasunlearn.commands.export import export
    from biasunlearn.commands.export_lm_eval import export_lm_eval
    from biasunlearn.commands.gate import gate
    from biasunlearn.commands.measure import measure, rescore
    from biasunlearn.commands.probe import probe
    from biasunlearn.commands.relearn import relearn
    from biasunlearn.commands.report import write_report
    from biasunlearn.commands.survey import survey
    from biasunlearn.commands.sweep import sweep
    from biasunlearn.commands.transfer import transfer
    from biasunlearn.config import DebiasConfig, load_config
    from biasunlearn.data.counterfactual import counterfactual_pairs, load_term_list
    from biasunlearn.data.readers import read_triplets
    from biasunlearn.data.readers import read_triplets as load_stereoset
    from biasunlearn.errors import DataError, RequestError
    from biasunlearn.runs.results import Results, load_results
    from biasunlearn.scoring.protocol import EvalOptions

_WHERE = {
    "DataError": "errors",
    "DebiasConfig": "config",
    "EvalOptions": "scoring.protocol",
    "RequestError": "errors",
    "Results": "runs.results",
    "ablate": "commands.ablate",
    "combine": "commands.combine",
    "compare": "commands.compare",
    "counterfactual_pairs": "data.counterfactual",
    "debias": "commands.debias",
    "disentangle": "commands.disentangle",
    "export": "commands.export",
    "export_lm_eval": "commands.export_lm_eval",
    "gate": "commands.gate",
    "load_config": "config",
    "load_results": "runs.results",
    "load_stereoset": "data.readers",
    "load_term_list": "data.counterfactual",
    "measure": "commands.measure",
    "probe": "commands.probe",
    "read_triplets": "data.readers",
    "relearn": "commands.relearn",
    "rescore": "commands.measure",
    "survey": "commands.survey",
    "sweep": "commands.sweep",
    "transfer": "commands.transfer",
    "write_report": "commands.report",
}

__all__ = [
    "DataError",
    "DebiasConfig",
    "EvalOptions",
    "RequestError",
    "Results",
    "__version__",
    "ablate",
    "combine",
    "compare",
    "counterfactual_pairs",
    "debias",
    "disentangle",
    "export",
    "export_lm_eval",
    "gate",
    "load_config",
    "load_results",
    "load_stereoset",
    "load_term_list",
    "measure",
    "probe",
    "read_triplets",
    "relearn",
    "rescore",
    "survey",
    "sweep",
    "transfer",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f".{_WHERE[name]}", __name__)
    return getattr(module, "read_triplets" if name == "load_stereoset" else name)
