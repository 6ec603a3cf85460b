"""A benchmark without a path is read from the hub: at a fixed revision, with its licence, and not without a network."""

import datasets
import pytest

from biasunlearn.cli import main
from biasunlearn.cli.benchmark_paths import benchmark_paths
from biasunlearn.data.hub_copies import COPIES
from biasunlearn.data.tables import is_hub_name, load_hub
from biasunlearn.errors import RequestError


def test_a_name_alone_stands_for_the_copy_at_a_commit(capsys):
    assert benchmark_paths(("stereoset", "crows_pairs=crows.csv")) == {
        "stereoset": f"McGill-NLP/stereoset@{COPIES['stereoset'].revision}", "crows_pairs": "crows.csv",
    }  # fmt: skip
    message = capsys.readouterr().err
    assert "McGill-NLP/stereoset" in message and "licence CC BY-SA 4.0" in message and message.count("\n") == 1
    with pytest.raises(RequestError, match="--benchmark bbq: give its file"):
        benchmark_paths(("bbq",))
    for wrong in ("stereoset=", "=dev.json"):
        with pytest.raises(RequestError, match="write NAME=PATH"):
            benchmark_paths((wrong,))


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_the_revision_is_a_whole_commit_and_reaches_the_library(copy, monkeypatch):
    assert len(copy.revision) == 40 and set(copy.revision) <= set("0123456789abcdef") and is_hub_name(copy.path)
    asked = []


    def load_dataset(*names, **options):
        asked.append((names, options))
        return {"test": 1}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_hub(copy.path) == 1
    load_hub(f"{copy.path}:part", split="dev")
    load_hub(copy.path, "intrasentence", "validation")
    load_hub("owner/name:part:train")
    assert [(names[0], names[1], options.get("revision")) for names, options in asked] == [
        (copy.name, None, copy.revision), (copy.name, "part", copy.revision),
        (copy.name, "intrasentence", copy.revision), ("owner/name", "part", None),
    ]  # fmt: skip


def test_without_a_network_the_command_refuses_in_one_line(tmp_path, capsys):
    assert main(["validate", COPIES["stereoset"].path]) == 2
    error = capsys.readouterr().err
    assert "the hub cannot be reached" in error and "give a file instead" in error and error.count("\n") == 1
