"""A complete model -> GGUF, by llama.cpp's own converter, which this package neither ships nor copies."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from biasunlearn.errors import RequestError

CONVERTER = "convert_hf_to_gguf.py"


def find_converter(given: str | None = None) -> Path:
    """llama.cpp's script: given (itself, or a folder of llama.cpp), in $LLAMA_CPP, or on PATH.

    Raises:
        RequestError: it is in none of these places.
    """
    for place in (given, os.environ.get("LLAMA_CPP")):
        if place and (path := Path(place) / CONVERTER if Path(place).is_dir() else Path(place)).is_file():
            return path
        if place and place == given:
            raise RequestError(f"--gguf {given}: no {CONVERTER} there; give llama.cpp's folder or the script itself")
    if found := shutil.which(CONVERTER):
        return Path(found)
    raise RequestError(
        f"--gguf: llama.cpp's {CONVERTER} is not on PATH; get llama.cpp and give its folder: --gguf path/to/llama.cpp"
    )


def convert(folder: Path, converter: Path) -> Path:
    """Writes model.gguf into the folder of a complete model, in its own precision. Returns the file.

    Raises:
        RequestError: the converter fails, which most often means that it does not know the architecture.
    """
    made = folder / "model.gguf"
    command = [sys.executable, str(converter), str(folder), "--outfile", str(made), "--outtype", "auto"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not made.is_file():
        said = (done.stderr.strip() or done.stdout.strip() or "it wrote no file").splitlines()[-1]
        raise RequestError(f"--gguf: {converter} failed: {said[:300]}")
    return made
