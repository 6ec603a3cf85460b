"""`export`: a run as a repository for others, an adapter or a complete model with its model card; also on the hub."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from biasunlearn.commands.evaluation import MANIFEST, read_manifest
from biasunlearn.commands.merge import SAME, convert, find_converter
from biasunlearn.commands.merge import merge as merge_into
from biasunlearn.commands.run_context import Say
from biasunlearn.data.readers import read_triplets
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import check_adapter
from biasunlearn.models.spec import ModelSpec, spec_of_run
from biasunlearn.report.model_card import Published, model_card, on_the_hub
from biasunlearn.runs.atomic import whole_folder
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.results import Results
from biasunlearn.runs.run_files import Manifest

PROBED = 100
"""Triplets of the report file on whose stereotypes the merged model is compared with the adapter."""


def export(
    run: str | Path,
    *,
    out: str | Path,
    merge: bool = False,
    base_name: str | None = None,
    license_id: str | None = None,
    gguf: str | None = None,
    push: str | None = None,
    public: bool = False,
    device: str | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Writes the repository of a debias, transfer or combine run.

    Args:
        run: the run folder.
        out: a folder that does not exist yet.
        merge: a complete model in the base's precision, instead of an adapter.
        base_name: the base's name on the hub, where the run knows it as a folder.
        license_id: for the card, as the hub names it.
        gguf: also convert the merged model; "" or the path of llama.cpp's converter.
        push: owner/name of a hub repository, which is created if it does not exist: private, unless `public`.
        public: create a public repository where `push` is given.
        device: where the model is merged: cpu, cuda, cuda:1, ...
        say: called with every message, one line each.
    Returns:
        {"out", "merged", "dtype", "largest_difference", "gguf", "url"}
    Raises:
        RequestError: no such run, nothing to export, a folder that exists, a hub that refuses.
    """
    folder, out = RunFolder(Path(run)), Path(out)
    results = folder.read_results()
    complete = (folder.model / "config.json").exists()
    _check(folder, out, merge, complete, push)
    converter = find_converter(gguf or None) if gguf is not None and merge else None
    if gguf is not None and not merge:
        raise RequestError("--gguf: converts a complete model; add --merge")
    base = base_name or hub_name(results)
    if push and not merge and (base is None or not on_the_hub(base)):
        raise RequestError(
            f"--push: {base or results.model}, the adapter's base, is not on the hub; add --base-name OWNER/NAME"
        )
    spec = ModelSpec(str(folder.model), device=device) if complete else spec_of_run(folder, results, device=device)
    adapter = None if complete else folder.adapter
    with whole_folder(out) as place:
        found: dict[str, Any] = {"out": str(out), "merged": merge, "dtype": None, "largest_difference": None}
        if merge:
            dtype, largest = merge_into(spec, adapter, place, *_probes(results))
            found |= {"dtype": dtype, "largest_difference": largest}
            if say and largest > SAME:
                say(f"rounded to {dtype}, mean log-probabilities differ from the adapter's by up to {largest:.1g} nats")
        else:
            _copy_adapter(folder.adapter, place, base, spec.revision)
        _write_card(results, found, place, adapter or folder.model, base, license_id)
        if converter is not None:
            convert(place, converter)
    found["gguf"] = str(out / "model.gguf") if converter else None
    found["url"] = push_folder(out, push, public=public) if push else None
    return found


def _write_card(
    results: Results, found: dict[str, Any], place: Path, trained: Path, base: str | None, license_id: str | None
) -> None:
    """The model card, and beside it what the model was trained on."""
    manifest = read_manifest(trained)
    if manifest is not None:
        content = json.dumps(_published(manifest), indent=1)
        (place / MANIFEST).write_text(content + "\n", encoding="utf-8")
    published = Published(found["merged"], base, str(found["dtype"]), license_id, found["largest_difference"])
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


def _check(folder: RunFolder, out: Path, merge: bool, complete: bool, push: str | None) -> None:
    if not complete and not (folder.adapter / "adapter_config.json").exists():
        raise RequestError(f"{folder.path}: has neither an adapter nor a trained model; export a debias run")
    if complete and not merge:
        raise RequestError(f"{folder.path}: changed all weights, so there is no adapter; add --merge")
    if not complete:
        check_adapter(folder.adapter)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"{out}: already exists; choose another --out or remove it")
    if push is not None and (push.count("/") != 1 or not all(push.split("/"))):
        raise RequestError(f"--push {push}: write OWNER/NAME")


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
