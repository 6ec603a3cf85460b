"""items.parquet of a stranger: what cannot be read is an error of one line."""

from dataclasses import asdict
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from biasunlearn.errors import RequestError
from biasunlearn.runs.items import read_items
from biasunlearn.stats.stereoset import Item


def stored(path: Path, target: bytes) -> Path:
    """One item, whose target term has these bytes."""
    item = asdict(Item("stereoset", "1-stereotype", "1", "age", "", "intrasentence", "stereotype", -2.5, 3))
    columns = {name: pyarrow.array([value]) for name, value in item.items() if value is not None}
    columns["target"] = pyarrow.array([target]).cast("string", safe=False)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_a_text_that_is_no_utf_8_is_one_line(tmp_path: Path) -> None:
    ((item,),) = read_items(stored(tmp_path / "sound.parquet", "Äthiopier".encode())).values()
    assert item.target == "Äthiopier" and item.score == -2.5
    with pytest.raises(RequestError, match="damaged.parquet: not our items: .*UTF-?8"):
        read_items(stored(tmp_path / "damaged.parquet", b"\xc4thiopier"))
