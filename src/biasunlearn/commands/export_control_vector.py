"""`export --control-vector`: the steering vector of a run as a GGUF control vector for llama.cpp."""

from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.libraries import first_line, transformers
from biasunlearn.models.steered import FILE, read_steering
from biasunlearn.runs.atomic import whole_folder
from biasunlearn.runs.folder import RunFolder

NAME = "control_vector.gguf"


def export_control_vector(run: str | Path, *, out: str | Path) -> dict[str, Any]:
    """Writes a folder with one tensor `direction.N`, which llama.cpp adds to the output of layer N, counted from 0.

    `llama-cli --control-vector FILE` adds the vector with its strength.

    Args:
        run: folder of a run with `--method steering`.
        out: a folder that does not exist yet.
    Returns:
        {"out", "file", "layer", "norm"}
    Raises:
        RequestError: the run has no steering vector, a gated one, or one that changes nothing; its layer is 0, which
            llama.cpp does not steer; the package gguf is missing; the folder exists.
    """
    try:
        from gguf import GGUFWriter
    except ImportError:
        raise RequestError("--control-vector: needs the package gguf: pip install 'biasunlearn[gguf]'") from None
    folder, out = RunFolder(Path(run)), Path(out)
    results = folder.read_results()
    if not (folder.adapter / FILE).exists():
        raise RequestError(f"{folder.path}: has no steering vector; export a run of debias --method steering")
    if out.exists():
        raise RequestError(f"{out}: already exists; choose another --out or remove it")
    steering = read_steering(folder.adapter)
    if steering.gate_weight is not None:
        raise RequestError(f"{folder.path}: has a gate, which llama.cpp does not know; use --method steering")
    if not steering.vector.any():
        raise RequestError(f"{folder.path}: no strength was nearer to 50 than the base model; there is no vector")
    if steering.block < 1:
        raise RequestError(f"{folder.path}: the vector belongs to layer 0, which llama.cpp does not steer")
    try:
        kind = transformers().AutoConfig.from_pretrained(results.model).model_type
    except Exception as error:  # a configuration that is not there, or that this version of transformers does not know
        raise RequestError(f"{results.model}: the architecture of the base is not known: {first_line(error)}") from None
    vector = steering.vector.float().numpy()
    with whole_folder(out) as place:
        writer = GGUFWriter(place / NAME, "controlvector")
        writer.add_string("controlvector.model_hint", kind)
        writer.add_uint32("controlvector.layer_count", 1)
        writer.add_tensor(f"direction.{steering.block}", vector)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    norm = float(steering.vector.float().norm())
    return {"out": str(out), "file": str(out / NAME), "layer": steering.block, "norm": norm}
