"""`export`: a run as a repository for others, an adapter or a complete model with its model card; also on the hub."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal

from biasunlearn.commands.evaluation import MANIFEST, read_manifest
from biasunlearn.commands.merge import SAME, convert, find_converter
from biasunlearn.commands.merge import merge as merge_into
from biasunlearn.commands.run_context import Say
from biasunlearn.data.readers import read_triplets
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import check_adapter
from biasunlearn.models.adapter_formats import (
    GGUF_CONVERTER,
    GGUF_FILE,
    check_portable,
    write_gguf,
    write_mlx,
)
from biasunlearn.models.spec import Loading, ModelSpec, spec_of_run
from biasunlearn.report.model_card import Published, model_card, on_the_hub
from biasunlearn.runs.atomic import whole_folder
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.results import Results
from biasunlearn.runs.run_files import Manifest

Format = Literal["peft", "merged", "gguf-lora", "mlx"]
"""An adapter for PEFT, a complete model, or an adapter for llama.cpp or for mlx-lm."""

PRECISIONS = ("float32", "bfloat16", "float16")

PROBED = 100
"""Triplets of the report file on whose stereotypes the merged model is compared with the adapter."""


def export(
    run: str | Path,
    *,
    out: str | Path,
    format: Format | None = None,
    merge: bool = False,
    base_name: str | None = None,
    license_id: str | None = None,
    gguf: str | None = None,
    push: str | None = None,
    public: bool = False,
    overwrite: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
    revision: str | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Writes the repository of a debias, transfer or combine run.

    Args:
        run: the run folder.
        out: a folder that does not exist yet, unless `overwrite` is set.
        format: peft, an adapter as it was trained; merged, a complete model; gguf-lora or mlx, an adapter for llama.cpp
            or mlx-lm (default: peft).
        merge: the same as the format merged.
        base_name: the base's name on the hub, where the run knows it as a folder.
        license_id: for the card, as the hub names it.
        gguf: "" or the path of llama.cpp: also convert the merged model; for gguf-lora, where the converter is.
        push: owner/name of a hub repository, which is created if it does not exist: private, unless `public`.
        public: create a public repository where `push` is given.
        overwrite: replace an earlier export in `out`.
        device: where the model is merged: cpu, cuda, cuda:1, ...
        dtype: precision of the complete model: float32, bfloat16 or float16 (default: that of the base's weights).
        batch_tokens: maximum number of tokens in a batch where complete model and adapter are compared.
        revision: branch, tag or commit of the base on the hub (default: that of the run).
        say: called with every message, one line each.
    Returns:
        {"out", "format", "merged", "dtype", "largest_difference", "gguf", "url"}
    Raises:
        RequestError: no such run, nothing to export, a folder that exists, a hub that refuses, an adapter that the
            program cannot load.
    """
    folder, out = RunFolder(Path(run)), Path(out)
    results = folder.read_results()
    if merge and format not in (None, "merged"):
        raise RequestError(f"--merge: cannot be combined with --format {format}; leave one of them out")
    format = "merged" if merge else format or "peft"
    complete = (folder.model / "config.json").exists()
    check_place(out, overwrite)
    _check(folder, format, complete, push)
    _check_dtype(dtype, format)
    converter = _converter(format, gguf)
    base = base_name or hub_name(results)
    if push and format != "merged" and (base is None or not on_the_hub(base)):
        raise RequestError(
            f"--push: {base or results.model}, the adapter's base, is not on the hub; add --base-name OWNER/NAME"
        )
    spec = ModelSpec(str(folder.model)) if complete else spec_of_run(folder, results)
    spec = Loading(device=device, batch_tokens=batch_tokens, revision=revision).of(spec)
    found: dict[str, Any] = {"out": str(out), "format": format, "merged": format == "merged", "dtype": None,
                             "largest_difference": None}  # fmt: skip
    with whole_folder(out) as place:
        if format == "merged":
            adapter = None if complete else folder.adapter
            dtype, largest = merge_into(spec, adapter, place, *_probes(results), precision=dtype)
            found |= {"dtype": dtype, "largest_difference": largest}
            if say and largest > SAME:
                say(f"rounded to {dtype}, mean log-probabilities differ from the adapter's by up to {largest:.1g} nats")
            if converter is not None:
                convert(place, converter)
        else:
            _write_adapter(format, folder.adapter, place, spec, base, converter)
        _write_card(results, found, place, folder.model if complete else folder.adapter, base, license_id)
    made = GGUF_FILE if format == "gguf-lora" else "model.gguf"
    found["gguf"] = str(out / made) if converter else None
    found["url"] = push_folder(out, push, public=public) if push else None
    return found


def _converter(format: Format, gguf: str | None) -> Path | None:
    """llama.cpp's converter, where one is needed."""
    if format == "gguf-lora":
        return find_converter(gguf or None, GGUF_CONVERTER, "--format gguf-lora")
    if gguf is not None and format != "merged":
        raise RequestError("--gguf: converts a complete model; add --merge, or --format gguf-lora for an adapter")
    return None if gguf is None else find_converter(gguf or None)


def _check_dtype(dtype: str | None, format: Format) -> None:
    if dtype is not None and format != "merged":
        raise RequestError("--dtype: an adapter is stored as it was trained; leave it out, or add --merge")
    if dtype is not None and dtype not in PRECISIONS:
        raise RequestError(f"--dtype {dtype}: a complete model is stored as {', '.join(PRECISIONS)}")


def _write_adapter(
    format: Format, adapter: Path, place: Path, spec: ModelSpec, base: str | None, converter: Path | None
) -> None:
    if format == "mlx":
        write_mlx(adapter, place)
    elif converter is not None:
        write_gguf(adapter, place, spec.model, converter)
    else:
        _copy_adapter(adapter, place, base, spec.revision)


def _write_card(
    results: Results, found: dict[str, Any], place: Path, trained: Path, base: str | None, license_id: str | None
) -> None:
    """The model card, and beside it what the model was trained on."""
    manifest = read_manifest(trained)
    if manifest is not None:
        content = json.dumps(_published(manifest), indent=1)
        (place / MANIFEST).write_text(content + "\n", encoding="utf-8")
    published = Published(
        found["merged"], base, str(found["dtype"]), license_id, found["largest_difference"], found["format"]
    )
    (place / "README.md").write_text(model_card(results, published), encoding="utf-8")


def push_folder(folder: Path, name: str, *, public: bool) -> str:
    """Uploads a repository to the hub ($HF_ENDPOINT, $HF_TOKEN or the stored login). Returns its address.

    Raises:
        RequestError: the hub refuses; the repository exists and is public, which was not requested.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        address = hub.create_repo(name, private=not public, exist_ok=True)
        if not public and not hub.repo_info(name).private:  # it existed before, and creating it changed nothing
            raise RequestError(f"--push {name}: that repository is public; add --public, or choose another name")
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message="Debiased with biasunlearn")
    except RequestError:
        raise
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RequestError(
            f"--push {name}: the hub refused: {reason}; log in (hf auth login) with a token that may write there. "
            f"The repository is complete in {folder}"
        ) from None
    return str(address)


def _check(folder: RunFolder, format: Format, complete: bool, push: str | None) -> None:
    if not complete and not (folder.adapter / "adapter_config.json").exists():
        raise RequestError(f"{folder.path}: has neither an adapter nor a trained model; export a debias run")
    if complete and format != "merged":
        raise RequestError(f"{folder.path}: changed all weights, so there is no adapter; add --merge")
    if not complete:
        check_adapter(folder.adapter)
    if program := {"gguf-lora": "llama.cpp", "mlx": "mlx-lm"}.get(format):
        check_portable(folder.adapter, program)
    if push is not None and (push.count("/") != 1 or not all(push.split("/"))):
        raise RequestError(f"--push {push}: write OWNER/NAME")


def check_place(out: Path, overwrite: bool) -> None:
    """RequestError unless an export can be written there: a new folder, or, to be replaced, an earlier export."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise RequestError(f"{out}: already exists; choose another --out, remove it or add --overwrite")
    ours = [out / name for name in ("README.md", "bom.cdx.json") if (out / name).is_file()]
    if not any("biasunlearn" in path.read_text(encoding="utf-8", errors="replace") for path in ours):
        raise RequestError(f"--overwrite: {out}: holds no export of this package; choose another --out")


def hub_name(results: Results) -> str | None:
    """The model's name, if it is one of the hub and was not the name of a folder; else None.

    Somebody else may own, on the hub, the name that a relative folder happens to have.
    """
    name = str(results.model)
    known_as_folder = results.model_source == "folder" or Path(name).exists()
    return name if on_the_hub(name) and not known_as_folder else None


def _published(manifest: Manifest) -> dict[str, Any]:
    """What others may know of the training data: hashes and numbers, and no path of this machine."""
    kept = {name: file.given for name in ("train", "unrelated") if (file := getattr(manifest, name)) is not None}
    files = {name: {key: file[key] for key in ("sha256", "rows", "sentences") if key in file}
             for name, file in kept.items()}  # fmt: skip
    own: dict[str, Any] = {"splits": manifest.splits.to_dict() if manifest.splits else None, "seed": manifest.seed}
    parts = [_published(part) for part in manifest.parts]
    found = {**files, **own, "parts": parts}
    return {**{key: value for key, value in found.items() if value or value == 0}, "pairs": list(manifest.pairs)}


def _copy_adapter(source: Path, place: Path, base: str | None, revision: str | None) -> None:
    """A plain PEFT repository, which names its base if that is on the hub, and no path of this machine."""
    shutil.copyfile(source / "adapter_model.safetensors", place / "adapter_model.safetensors")
    config = check_adapter(source).with_values(base_model_name_or_path=base, revision=revision).to_dict()
    paths = [key for key, value in config.items() if isinstance(value, str) and re.search(r"[/\\]", value)]
    kept = {key: value for key, value in config.items() if key not in paths or key == "base_model_name_or_path"}
    content = json.dumps(kept, indent=2, sort_keys=True)
    (place / "adapter_config.json").write_text(content + "\n", encoding="utf-8")


def _probes(results: Results) -> tuple[list[str], ...]:
    """Stereotypes of the report file, where it can still be read; empty: the default sentences."""
    path = results.data.report.path if results.data.report else None
    try:
        triplets = read_triplets(path, skip_invalid=True).triplets if path else ()
    except RequestError:
        return ()
    return ([triplet.stereotype.text for triplet in triplets[:PROBED]],) if triplets else ()
