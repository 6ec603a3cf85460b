"""items.parquet of a stranger: what cannot be read is an error of one line."""

from dataclasses import asdict, replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from biasunlearn.errors import RequestError
from biasunlearn.runs.items import read_items, write_items
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


def test_items_are_read_by_column_as_they_would_be_one_by_one(tmp_path: Path) -> None:
    """With texts that recur, values that are missing in some rows, and a file in several parts."""
    made = {
        stage: [
            Item("stereoset", f"{n}-é", str(n // 2), "age", f"term {n % 3}", "intrasentence", "stereotype", -n / 7, n,
                 group_part=None if n % 2 else n / 3, subgroup="old" if n % 3 else "")
            for n in range(9)
        ]
        for stage in ("before", "after")
    }  # fmt: skip
    write_items(tmp_path / "items.parquet", made)
    table = pyarrow.parquet.read_table(tmp_path / "items.parquet")
    rows = [{name: value for name, value in row.items() if name != "stage"} for row in table.to_pylist()]
    pyarrow.parquet.write_table(table, tmp_path / "parts.parquet", row_group_size=4)
    for name in ("items.parquet", "parts.parquet"):
        found = read_items(tmp_path / name)
        assert found == made
        assert [item for items in found.values() for item in items] == [Item(**row) for row in rows]
        before = {stage: [item for item in items if stage != "before"] for stage, items in made.items()}
        assert read_items(tmp_path / name, keep=lambda *kind: kind != ("before", "stereoset", "stereotype")) == {
            "after": before["after"]
        }
        assert {type(item.tokens) for item in found["after"]} == {int}
        assert all(one.target is other.target for one, other in zip(*found.values(), strict=True))


def test_items_of_one_stage_and_of_an_older_run_have_the_usual_values(tmp_path: Path) -> None:
    ((item,),) = read_items(stored(tmp_path / "items.parquet", b"x")).values()
    assert item == Item("stereoset", "1-stereotype", "1", "age", "x", "intrasentence", "stereotype", -2.5, 3)
    assert item.group_part is None and hash(item) == hash(replace(item))
