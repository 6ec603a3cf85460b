"""The instructions of the demo: AVX2 where there is AVX-512 as well, and what the caller has chosen stays."""

import os
import sys
from pathlib import Path

import pytest

from biasunlearn.cli.kernels import AVX2, use_common_instructions


@pytest.mark.parametrize(
    ("flags", "given", "expected"),
    [
        ("flags : sse avx2 avx512f avx512bw\n", {}, AVX2),
        ("flags : sse avx2\n", {}, {}),
        ("flags : avx512f\n", {"ATEN_CPU_CAPABILITY": "avx512"}, {**AVX2, "ATEN_CPU_CAPABILITY": "avx512"}),
    ],
)
def test_avx2_where_there_is_more(
    flags: str, given: dict[str, str], expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in AVX2:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    use_common_instructions(tmp_path / "cpuinfo")
    found = {name: os.environ.pop(name) for name in AVX2 if name in os.environ}  # taken back: other tests go on
    assert found == expected


def test_nothing_changes_once_torch_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("flags : avx512f\n")
    monkeypatch.setitem(sys.modules, "torch", sys)
    before = dict(os.environ)
    use_common_instructions(tmp_path / "cpuinfo")
    assert dict(os.environ) == before
