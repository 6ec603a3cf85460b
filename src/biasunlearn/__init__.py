"""biasunlearn: measure a language model's social bias, unlearn it, and prove both.

    from biasunlearn import DebiasConfig, debias, measure, load_stereoset

Importing the package does not import torch; the first call does.
"""

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .ablating import ablate
    from .combining import combine
    from .comparing import compare
    from .config import DebiasConfig, load_config
    from .counterfactual import counterfactual_pairs, load_term_list
    from .data import read_clusters
    from .data import read_clusters as load_stereoset
    from .debiasing import debias
    from .disentangling import disentangle
    from .errors import DataError, RequestError
    from .exporting import export_lm_eval
    from .gating import gate
    from .measuring import measure, rescore
    from .probing import probe
    from .publishing import export
    from .relearning import relearn
    from .reporting import write_report
    from .sampling import Asking
    from .surveying import survey
    from .sweeping import sweep
    from .transferring import transfer

_WHERE = {
    "Asking": "sampling",
    "DataError": "errors",
    "DebiasConfig": "config",
    "RequestError": "errors",
    "ablate": "ablating",
    "combine": "combining",
    "compare": "comparing",
    "counterfactual_pairs": "counterfactual",
    "debias": "debiasing",
    "disentangle": "disentangling",
    "export": "publishing",
    "export_lm_eval": "exporting",
    "gate": "gating",
    "load_config": "config",
    "load_stereoset": "data",
    "load_term_list": "counterfactual",
    "measure": "measuring",
    "probe": "probing",
    "read_clusters": "data",
    "relearn": "relearning",
    "rescore": "measuring",
    "survey": "surveying",
    "sweep": "sweeping",
    "transfer": "transferring",
    "write_report": "reporting",
}

__all__ = [
    "Asking",
    "DataError",
    "DebiasConfig",
    "RequestError",
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
    "load_stereoset",
    "load_term_list",
    "measure",
    "probe",
    "read_clusters",
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
    return getattr(module, "read_clusters" if name == "load_stereoset" else name)
