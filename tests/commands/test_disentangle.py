"""The matrix: each run trains on what its row says, reports on everything, and is not run twice."""

import json
from pathlib import Path

import pytest

from biasunlearn.cli import main
from biasunlearn.stats.bootstrap import Estimate, SeedEstimate, over_seeds
from tests import tiny
from tests.test_cli import write_pairs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    tiny.save(tiny.gpt2(), folder / "model")
    write_pairs(folder / "train.jsonl", bias_types=("age", "work"))
    write_pairs(folder / "one.jsonl", bias_types=("age",))
    write_pairs(folder / "report.jsonl", bias_types=("old", "new"))
    return folder


def command(place: Path, out: str, *more: str, train: str = "train.jsonl") -> list[str]:
    small = ("max_steps=1", "swap_noise=0", "first_evaluation=1", "forget_batch=4", "unrelated_batch=2", "lora_rank=2")
    return ["disentangle", str(place / "model"), "--train", str(place / train), "--report", str(place / "report.jsonl"),
            "--out", str(place / out), *(part for value in small for part in ("--set", value)), *more]  # fmt: skip


def test_a_run_for_each_bias_type_reported_on_all(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(place, "only", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trained_on"] == {"only-age": ["age"], "only-work": ["work"]}
    assert list(found["before"]) == list(found["after"]["only-age"]) == ["new", "old"]
    cells = {(cell["run"], cell["bias_type"]): cell for cell in found["spill_over"]["cells"]}
    assert set(cells) == {(name, bias_type) for name in found["trained_on"] for bias_type in ("new", "old")}
    for (name, bias_type), cell in cells.items():
        change = found["after"][name][bias_type]["value"] - found["before"][bias_type]["value"]
        assert cell["change"]["value"] == pytest.approx(change) and cell["p"] <= cell["p_holm"] <= 1
    assert 0 < found["spill_over"]["p"] <= 1
    for name, types in found["trained_on"].items():
        results = json.loads((place / "only" / name / "seed-0/results.json").read_text())
        assert list(results["data"]["splits"]["train"]["bias_types"]) == types
        assert results["data"]["unrelated"]["sentences"] > 16  # of both types: the same KL term in every run
    written = [path.stat().st_mtime_ns for path in sorted((place / "only").glob("*/*/results.json"))]
    assert main(command(place, "only")) == 0
    assert [path.stat().st_mtime_ns for path in sorted((place / "only").glob("*/*/results.json"))] == written
    assert "only-work" in capsys.readouterr().out


def test_with_a_penalty_of_their_directions_a_run_has_the_pairs_of_the_others(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(place, "kept", "--set", "method=biasunlearn_orthogonal", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trained_on"] == {"only-age": ["age"], "only-work": ["work"]}
    for name, types in found["trained_on"].items():
        results = json.loads((place / "kept" / name / "seed-0/results.json").read_text())
        assert list(results["data"]["splits"]["train"]["bias_types"]) == types == results["config"]["trained_types"]
        assert any("are only used to keep their bias directions" in line for line in results["data"]["findings"])


def test_leaving_one_out_trains_on_the_others(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(place, "without", "--leave-out", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trained_on"] == {"without-age": ["work"], "without-work": ["age"]}


def test_several_seeds_are_runs_of_their_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(place, "only", "--seeds", "0", "1", "--json")) == 0  # those of seed 0 are there
    found = json.loads(capsys.readouterr().out)
    assert {path.parent.name for path in (place / "only").glob("*/*/results.json")} == {"seed-0", "seed-1"}
    stored = json.loads((place / "only/only-age/seed-1/results.json").read_text())
    assert stored["config"]["seed"] == 1 and found["seeds"] == [0, 1]
    for name, rows in found["by_seed"].items():
        for bias_type, ss in found["after"][name].items():
            assert ss["value"] == pytest.approx(sum(row[bias_type]["value"] for row in rows) / 2)
            assert ss["low"] == min(row[bias_type]["low"] for row in rows)


def test_the_mean_over_seeds_by_hand() -> None:
    each = [Estimate(48.0, 44.0, 52.0), Estimate(52.0, 47.0, 57.0)]
    assert over_seeds(each) == SeedEstimate(50.0, 44.0, 57.0, (48.0, 52.0))
    assert over_seeds([None, 3.0]) == SeedEstimate(3.0, None, None, (3.0,)) and over_seeds([None]) is None


def erasing(place: Path, out: str, *more: str) -> list[str]:
    return ["disentangle", str(place / "model"), "--train", str(place / "train.jsonl"), "--report",
            str(place / "report.jsonl"), "--out", str(place / out), "--erase", *more]  # fmt: skip


def test_each_type_is_erased_beside_random_erasures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = erasing(place, "erased", "--rank", "2", "--draws", "3")
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((place / "erased/erasure.json").read_text())
    assert found["layer"] == 1 and found["ranks"] == {"age": 2, "work": 2} and found["draws"] == 3
    folders = {path.name for path in (place / "erased").iterdir() if path.is_dir()}
    assert folders == {"base", "erase-age", "erase-work", "random-2-0", "random-2-1", "random-2-2"}

    def ss(name: str) -> dict[str, float]:
        stored = json.loads((place / "erased" / name / "run/results.json").read_text())
        return {key: row["ss"]["value"] for key, row in stored["benchmarks"]["stereoset"]["bias_types"].items()}

    base = ss("base")
    assert {key: row["value"] for key, row in found["before"].items()} == base
    assert {(cell["erased"], cell["bias_type"]) for cell in found["ss"]} == {
        (erased, bias_type) for erased in ("age", "work") for bias_type in ("new", "old")
    }
    for cell in found["ss"]:
        assert cell["change"]["value"] == pytest.approx(
            ss(f"erase-{cell['erased']}")[cell["bias_type"]] - base[cell["bias_type"]]
        )
        drawn = [ss(f"random-2-{n}")[cell["bias_type"]] - base[cell["bias_type"]] for n in range(3)]
        assert cell["random"]["value"] == pytest.approx(sum(drawn) / 3)
    assert all(cell["change"]["value"] > 0 for cell in found["moved"])
    written = {path: path.stat().st_mtime_ns for path in (place / "erased").glob("*/run/results.json")}
    assert main(asked) == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert "random erasures" in capsys.readouterr().out
    assert main(erasing(place, "erased", "--rank", "1", "--draws", "2")) == 2
    assert "made of other pairs or another layer" in capsys.readouterr().err


def test_wrong_requests_to_erase_are_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, said in (
        (("--leave-out",), "--erase: trains nothing; leave --leave-out and --seeds out"),
        (("--set", "max_steps=1"), "--erase: trains nothing and has no recipe"),
        (("--unrelated", "text.txt"), "--erase: only reads --train and --report"),
        (("--dtype", "bfloat16"), "--dtype: has no meaning with --erase"),
        (("--draws", "1"), "--draws 1: needs at least 2"),
        (("--rank", "0"), "--rank 0: must be at least 1"),
        (("--layer", "3"), "--layer 3: the model has layers 1 to 2"),
    ):
        assert main(erasing(place, "refused", *more)) == 2
        assert said in capsys.readouterr().err
    assert main(command(place, "refused", "--rank", "2")) == 2
    assert "--rank: only has a meaning with --erase" in capsys.readouterr().err


def test_wrong_requests_are_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(place, "single", train="one.jsonl")) == 2
    assert "only the bias type age; disentangle needs pairs of two or more" in capsys.readouterr().err
    (place / "other").mkdir()
    (place / "other/only-age.jsonl").write_text((place / "one.jsonl").read_text().splitlines()[0])
    assert main(command(place, "other")) == 2
    assert "made of other training pairs" in capsys.readouterr().err
