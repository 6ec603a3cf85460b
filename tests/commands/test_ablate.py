"""Ablations: what each variant changes, runs that are not run twice, and what is said beside the paper's figures."""

import dataclasses
import json
from pathlib import Path

import pytest

from biasunlearn.cli import main
from biasunlearn.commands.ablate import PAPER, VARIANTS, ablate, verdict
from biasunlearn.config import DebiasConfig, load_config
from biasunlearn.errors import RequestError
from tests import tiny
from tests.test_cli import write_pairs

pytestmark = pytest.mark.slow


def command(place: Path, *more: str) -> list[str]:
    small = ("max_steps=2", "swap_noise=0", "first_evaluation=2", "forget_batch=4", "unrelated_batch=2", "lora_rank=2")
    return ["ablate", str(place / "model"), "--train", str(place / "train.jsonl"), "--report",
            str(place / "report.jsonl"), "--out", str(place / "out"),
            *(part for value in small for part in ("--set", value)), *more]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablate")
    tiny.save(tiny.gpt2(), folder / "model")
    write_pairs(folder / "train.jsonl")
    write_pairs(folder / "report.jsonl", bias_types=("old", "new"))
    return folder


def test_every_variant_changes_the_recipe_in_one_place() -> None:
    for variant, changes in VARIANTS.items():
        recipes = [load_config("paper"), load_config()]  # neither has all the parts
        assert any(dataclasses.replace(recipe, **changes) != recipe for recipe in recipes) or variant == "full"
        assert len(changes) == (variant != "full")
    assert set(PAPER) <= set(VARIANTS)


def test_runs_are_made_once_and_stand_in_one_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("--variants", "full", "without-retention", "--seeds", "0", "1")
    assert main(command(place, *chosen, "--json")) == 0
    first = json.loads(capsys.readouterr().out)
    assert first == json.loads((place / "out/ablation.json").read_text())
    runs = sorted((place / "out").glob("*/seed-*/results.json"))
    assert len(runs) == 4
    written = [path.stat().st_mtime_ns for path in runs]
    recipe = json.loads((place / "out/without-retention/seed-1/results.json").read_text())["config"]
    assert (recipe["retain_weight"], recipe["seed"]) == (0.0, 1)

    assert main(command(place, *chosen)) == 0
    assert [path.stat().st_mtime_ns for path in runs] == written  # nothing was run again
    shown = capsys.readouterr().out
    assert "without-retention" in shown and "-35.23" in shown
    row = first["variants"]["full"]
    assert row["mean"]["ss"] == pytest.approx(sum(row["seeds"]["ss"]) / 2) and len(row["seeds"]["last_lms"]) == 2


def test_another_recipe_in_the_same_folder_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(place, "--variants", "full", "--seeds", "5")) == 0
    assert main(command(place, "--variants", "full", "--seeds", "5", "--set", "beta=0.2")) == 2
    assert "already holds a finished run" in capsys.readouterr().err


def test_wrong_requests(tmp_path: Path) -> None:
    paths = {"train": "t", "report": "r", "out": tmp_path / "out"}
    with pytest.raises(RequestError, match="--variants half: unknown; known: full"):
        ablate("m", **paths, variants=("half",))
    with pytest.raises(RequestError, match="ablate removes parts of biasunlearn"):
        ablate("m", **paths, config=DebiasConfig(method="dpo"))
    with pytest.raises(RequestError, match="at least one seed"):
        ablate("m", **paths, seeds=())
    with pytest.raises(RequestError, match="without-adversarial: the recipe has adversarial_share: 0.0 already"):
        ablate("m", **paths, variants=("full", "without-adversarial"))


def test_what_contradicts_the_paper_is_said() -> None:
    borne_out = verdict({"last_lms": -20.0, "last_ss": 50.0}, PAPER["without-retention"])
    assert borne_out == "LMS -20.0, as in the paper (-35.2)"
    against = verdict({"last_lms": -0.4, "last_ss": 53.0}, PAPER["without-adversarial"])
    assert against == "LMS -0.4, not as in the paper (-6.1); SS 53.0, not past 50 as in the paper (44.7)"
    paper = PAPER["without-adversarial"]
    for ss, word in ((49.9, "not past 50"), (47.0, "past 50")):  # half of the way to 44.72 is 47.36
        assert f"SS {ss}, {word} as in the paper" in verdict({"last_lms": 0, "last_ss": ss}, paper)
    assert verdict({"last_lms": -9.0, "last_ss": 40.0}, {}) == ""
