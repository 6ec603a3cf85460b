"""The name of a model for the head of a page: what a person would call it, not the path where it lies."""

import re

GENERIC = {"model", "base", "final", "merged", "checkpoint", "weights", "hf", "snapshot", "output", "out"}
"""Names of folders that say nothing without the folder that they are in."""

DEMO = re.compile(r"/world-[0-9a-f]{16}/model$")
"""Where the demo leaves its model (commands/demo.py)."""

HUB_CACHE = re.compile(r"models--([^/]+)/snapshots/[^/]+/?$")


def model_name(model: str, source: str | None = None) -> str:
    """The name of a model that is given as a hub name, a path or a URL.

    By hand: "/data/models/minilm" -> minilm; "/runs/7/model" -> 7/model; "owner/name" -> owner/name;
    "~/.cache/huggingface/hub/models--owner--name/snapshots/0a1b" -> owner/name.

    Args:
        source: folder, hub or endpoint; None if a run did not store it. "a/b" without it may be either, and is kept.
    """
    path = model.replace("\\", "/").rstrip("/")
    if found := HUB_CACHE.search(path):
        return found[1].replace("--", "/", 1)
    is_path = source == "folder" or path.startswith(("/", "./", "../", "~/")) or re.match(r"[A-Za-z]:/", path)
    if DEMO.search(path):
        return "toy model of the demo"
    parts = [part for part in path.split("/") if part not in ("", ".", "..", "~")]
    if source in ("hub", "endpoint") or not is_path or not parts:
        return model
    return "/".join(parts[-2:]) if parts[-1].lower() in GENERIC else parts[-1]
