"""Relearning: step 0 is the run itself, both models learn the same, a killed one goes on, nothing is not a share."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from biasunlearn.benchmarks import stereoset
from biasunlearn.cli import main
from biasunlearn.commands.relearn_scores import Measurement, kept, points
from biasunlearn.errors import RequestError
from biasunlearn.models.batches import TokenRow
from biasunlearn.report.relearning import relearning_sections
from biasunlearn.runs.items import read_items
from biasunlearn.runs.results import Measured, Results
from biasunlearn.stats.effect import effect_kept
from biasunlearn.unlearn.finetune import FineTuning, FineTuningConfig, batch_at, blocks
from tests import made_runs, tiny, variants
from tests.benchmarks import test_bbq_text

pytestmark = pytest.mark.slow

TEXT = "The river rose in spring and fell again. Boats lay at the old bridge.\nNobody asked for the way.\n" * 20


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lasting")
    tiny.save(tiny.gpt2(), folder / "model")
    variants.write_pairs(folder / "train.jsonl")
    variants.write_pairs(folder / "report.jsonl", ("old", "new"))
    variants.debias(folder, "run", str(folder / "model"))
    (folder / "text.txt").write_text(TEXT)
    return folder


def relearn(place, out, *more, run="run", on="text.txt", code=0):
    on = on if on == "stereotypes" else str(place / on)
    arguments = ["relearn", str(place / run), "--on", on, "--out", str(out), "--batch", "4", "--length", "16"]
    assert main([*arguments, "--rate", "0.01", *more]) == code
    return json.loads((Path(out) / "results.json").read_text()) if code == 0 else {}


def scores(folder, stage):
    return {item.item_id: item.score for item in read_items(Path(folder) / "items.parquet")[stage]}


def test_no_steps_are_the_runs_own_numbers(place, tmp_path, capsys):
    results = relearn(place, tmp_path / "out", "--steps", "0")
    ss = json.loads((place / "run/results.json").read_text())["benchmarks"]["stereoset"]["overall"]["ss"]
    for key in ("before", "benchmarks"):  # both are the debiased model, as the run left it
        assert results[key]["stereoset"]["overall"]["ss"] == pytest.approx(ss)
        stage = "before" if key == "before" else "after"
        assert scores(tmp_path / "out", stage) == pytest.approx(scores(place / "run", "after"), abs=1e-4)
    assert scores(tmp_path / "out", "base, step 0") == pytest.approx(scores(place / "run", "before"), abs=1e-4)
    assert results["relearned"]["kept"][0]["returned"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert "Both models at each step" in capsys.readouterr().out
    assert "Persistence under further training" in (tmp_path / "out/report.html").read_text()


@pytest.fixture(scope="module")
def done(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "out"
    return out, relearn(place, out, "--steps", "0", "2", "4", "--seeds", "0", "1",
                        "--benchmark", f"perplexity={place / 'text.txt'}")  # fmt: skip


def test_both_models_learn_and_all_of_it_is_told(done):
    out, results = done
    told = results["relearned"]
    expected = [(model, step) for model in ("debiased", "base") for step in (0, 2, 4)]
    assert [(point["model"], point["step"]) for point in told["points"]] == expected
    for model in ("debiased", "base"):
        own = [point for point in told["points"] if point["model"] == model]
        assert own[0]["loss"] is None and own[2]["loss"] < own[1]["loss"]
        assert own[2]["perplexity"] < own[1]["perplexity"] < own[0]["perplexity"]
        assert list(own[1]["seeds"]) == ["0", "1"] and list(own[0]["seeds"]) == ["0"]
        mean = sum(own[2]["seeds"].values()) / 2
        assert own[2]["overall"]["ss"]["value"] == pytest.approx(mean)
    stages = read_items(out / "items.parquet")
    assert list(stages)[0] == "before" and list(stages)[-1] == "after" and len(stages) == 2 + 2 * 2 * 2
    assert told["text"]["rows"] > 4 and told["text"]["passes"] == round(16 / told["text"]["rows"], 2)
    assert yaml.safe_load((out / "config.yaml").read_text())["relearn"]["steps"] == [0, 2, 4]
    assert main(["compare", f"{out}:before", str(out)]) == 0


def test_the_table_can_be_made_again_from_the_items(done):
    out, results = done
    stages = read_items(out / "items.parquet")
    looks = []
    for name, items in stages.items():
        model, seed, step = ("debiased", 0, 0) if name == "before" else ("debiased", 0, 4) if name == "after" else \
            (name.split(",")[0], int(name.split("seed ")[1].split(",")[0]) if "seed" in name else 0,
             int(name.rpartition(" ")[2]))  # fmt: skip
        looks.append(Measurement(model, seed, step, None, items, measured(items)))
    looks.sort(key=lambda look: (look.model != "debiased", look.seed, look.step))
    assert [row.to_dict() for row in kept(looks)] == results["relearned"]["kept"]
    stored = [p["overall"] for p in results["relearned"]["points"]]
    assert [p.overall.to_dict() for p in points(looks)] == stored


def test_a_killed_one_goes_on_bit_for_bit(place, tmp_path, monkeypatch, capsys):
    asked = "--steps", "1", "2", "3"
    whole = relearn(place, tmp_path / "whole", *asked)
    take, taken = FineTuning.take, []

    def killed(self):
        taken.append(self.step)
        if len(taken) == 6:  # of the base, behind its look at step 2
            raise KeyboardInterrupt
        return take(self)

    monkeypatch.setattr(FineTuning, "take", killed)
    relearn(place, tmp_path / "out", *asked, code=130)
    assert (tmp_path / "out/checkpoint.pt").exists()
    taken.clear()
    monkeypatch.setattr(FineTuning, "take", lambda self: (taken.append(self.step), take(self))[1])
    again = relearn(place, tmp_path / "out", *asked, "--resume")
    assert taken == [2]  # one step, and no look twice
    for results in (whole, again):
        results.pop("environment")
    assert again == whole and not (tmp_path / "out/checkpoint.pt").exists()
    assert relearn(place, tmp_path / "out", *asked, "--resume")["relearned"] == whole["relearned"]
    (place / "text.txt").write_text(TEXT + "More.")
    relearn(place, tmp_path / "out", *asked, "--resume", code=2)
    (place / "text.txt").write_text(TEXT)
    capsys.readouterr()


def test_judged_answers_before_and_after(place, tmp_path, capsys):
    """Of the debiased model alone, at its first and last step."""
    rows = [test_bbq_text.row(n, "neg" if n % 2 else "nonneg") for n in range(4)]
    (tmp_path / "Age.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    asked = ["--responses", f"bbq_text={tmp_path / 'Age.jsonl'}", "--new-tokens", "3", "--steps", "0", "1", "2"]
    results = relearn(place, out, *asked)
    entries = [results[key]["bbq_text"] for key in ("before", "benchmarks")]
    assert all(sum(entry["states"]["overall"].values()) == 4 for entry in entries)
    items = read_items(out / "items.parquet")
    judged = {stage for stage, own in items.items() if any(item.benchmark == "bbq_text" for item in own)}
    assert judged == {"before", "after"}
    assert "bbq_text: states of the answers" in capsys.readouterr().out
    assert (out / "responses.jsonl").exists() and "Answers" in (out / "report.html").read_text()


def test_nothing_unlearned_is_nothing_to_keep_and_said(place, tmp_path, capsys):
    """The control: both role weights 0, so the adapter learns nothing that leads anywhere."""
    zero = "--set", "forget_weight=0", "--set", "retain_weight=0"
    variants.debias(place, "control", str(place / "model"), *zero)
    results = relearn(place, tmp_path / "out", "--steps", "2", run="control")
    kept = results["relearned"]["kept"]
    assert all(row["kept"] is None and "cannot be distinguished from zero" in row["reason"] for row in kept)
    assert "After 2 steps: share kept not defined" in capsys.readouterr().out
    assert "The share kept is not defined" in (tmp_path / "out/report.html").read_text()


def test_on_the_stereotypes_that_were_forgotten(place, tmp_path):
    results = relearn(place, tmp_path / "out", "--steps", "3", on="stereotypes")
    train = json.loads((place / "run/results.json").read_text())["data"]["splits"]["train"]
    assert results["relearned"]["text"]["rows"] == train["pairs"]  # no adversarial sentence among them
    assert results["relearned"]["points"][1]["loss"] is not None


def test_a_run_that_changed_all_weights(place, tmp_path):
    variants.debias(place, "whole", str(place / "model"), "--set", "lora_rank=0")
    results = relearn(place, tmp_path / "out", "--steps", "0", run="whole")
    assert scores(tmp_path / "out", "before") == pytest.approx(scores(place / "whole", "after"), abs=1e-4)
    assert results["relearned"]["steps"] == [0]


def test_refusals_are_one_line_and_exit_code_2(place, tmp_path, capsys):
    (place / "empty.txt").write_text(" \n")
    (tmp_path / "full").mkdir()
    cases = {
        "no such file": {"on": "missing.txt"},
        "empty; give a text": {"on": "empty.txt"},
        "must not be negative": {"more": ("--steps", "-1")},
        "no finished run here": {"run": "model"},
        "the model takes": {"more": ("--length", "500")},
        "--rate and --batch must be above 0": {"more": ("--batch", "0")},
        "unknown here; known:": {"more": ("--benchmark", "nothing=x")},
    }
    for said, case in cases.items():
        relearn(place, tmp_path / "out", *case.get("more", ()), run=case.get("run", "run"),
                on=case.get("on", "text.txt"), code=2)  # fmt: skip
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert said in line, line


def measured(items):
    return Measured(stereoset=stereoset.entry(items))


def look(model, step, hits):
    items = made_runs.items({"age": hits, "work": hits})
    return Measurement(model, 0, step, None, items, measured(items))


def test_the_share_by_hand():
    """120 pairs a type. Base 84 -> 78 hits is SS 70 -> 65; debiased 60 -> 72 is 50 -> 60: the lead falls from 20 to 5
    points, a quarter is kept; the debiased model went 10 points back, and the text took the base 5 points forward."""
    looks = [look("debiased", 0, 60), look("debiased", 9, 72), look("base", 0, 84), look("base", 9, 78)]
    first, last = kept(looks)
    assert first.kept.to_dict() == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert last.kept.value == last.bias_types["age"].kept.value == pytest.approx(0.25)
    assert last.distance.kept.value == pytest.approx(0.25)  # nothing is past 50
    assert last.returned.value == pytest.approx(10) and last.drift.value == pytest.approx(-5)


def test_several_seeds_are_a_mean_of_distances_that_do_not_cancel():
    """After steps one seed is at SS 40 and one at 60: their mean is 50, and they are 10 points away all the same."""
    base, fair, low, high = (_ss(hits) for hits in (84, 60, 48, 72))
    found = effect_kept([base, fair, base, low, base, high])
    assert found.target.value == pytest.approx(10) and found.kept.value == pytest.approx(0.5)


def _ss(hits):
    return [o for o in stereoset.outcomes(made_runs.items({"age": hits, "work": hits})) if o.score == "ss"]


def test_rows_and_batches():
    loaded = tiny.gpt2()
    rows = blocks(loaded.tokenizer, "abcdefghij", 4)
    assert sum(row.scored for row in rows) == len(loaded.tokenizer("abcdefghij", add_special_tokens=False)["input_ids"])
    numbered = [TokenRow((0, n), 1) for n in range(5)]
    seen = [row.ids[1] for step in (1, 2, 3, 4, 5) for row in batch_at(step, numbered, 2, seed=3)]
    assert sorted(seen[:5]) == sorted(seen[5:]) == [0, 1, 2, 3, 4]  # pass by pass
    assert batch_at(2, numbered, 2, seed=3) == batch_at(2, numbered, 2, seed=3)
    with pytest.raises(RequestError, match="no token"):
        blocks(loaded.tokenizer, "", 4)


def test_a_step_is_plain_torch_on_the_mean_of_the_tokens():
    ours, theirs = tiny.gpt2().model, tiny.gpt2().model
    rows = [TokenRow((0, 5, 9, 7), 1), TokenRow((0, 8, 3), 1)]
    lesson = FineTuningConfig(rate=0.01, batch=2)
    loss = FineTuning(ours, None, rows, lesson, 0).take()
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.01 / 10, weight_decay=0)  # the first of ten warm-up steps
    parts = []
    for row in rows:
        ids = torch.tensor([row.ids])
        parts.append(-theirs(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0])
    mean = torch.cat(parts).mean()
    mean.backward()
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
    optimizer.step()
    assert loss == pytest.approx(float(mean.detach()), abs=1e-5)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert other.grad is not None
        told = other.grad.abs() > 1e-6  # AdamW's first step is the gradient's sign: of rounding, either
        assert torch.allclose(mine[told], other[told], atol=2e-4) and torch.allclose(mine, other, atol=2.1e-3)


def test_names_cannot_break_the_page():
    hostile = "<script>x</script>"
    made = made_runs.items({hostile: 84}, bias_types=(hostile,)), made_runs.items({hostile: 60}, bias_types=(hostile,))
    looks = [Measurement(model, 0, step, None, items, measured(items))
             for model, items in zip(("base", "debiased"), made, strict=True) for step in (0, 1)]  # fmt: skip
    told = {"run": hostile, "on": hostile, "seeds": [0, 1], "points": points(looks), "kept": kept(looks)}
    results = Results.model_validate({"schema": 2, "benchmarks": {}, "relearned": told})
    page = "".join(part.__html__() for part in relearning_sections(results))
    assert hostile not in page and "&lt;script&gt;" in page and "100 % (100–100) of the debiasing is left" in page
    assert relearning_sections(Results.model_validate({"schema": 2, "benchmarks": {}})) == []
