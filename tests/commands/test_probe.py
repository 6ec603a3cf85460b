"""Probes on states whose answer is known, angles by hand, and the command on a tiny model."""

import json
from pathlib import Path

import numpy as np
import pytest

from biasunlearn.cli import main
from biasunlearn.commands.probe_questions import questions
from biasunlearn.data.counterfactual import side_of
from biasunlearn.data.records import Passage, Sentence, Triplet
from biasunlearn.data.term_lists import load_term_list
from biasunlearn.scoring.embed import embed, embed_layers
from biasunlearn.stats import subspaces
from biasunlearn.stats.linear_probe import Question, balanced, dealt, predicted, read, scores
from tests import tiny
from tests.test_cli import write_pairs

pytest.importorskip("sklearn", reason="needs the extra [probes]")

TERMS, EACH, WIDTH = 20, 12, 24


def question(rng, wordings=None) -> Question:
    """Pairs of sentences about 20 terms; the side is the label."""
    n = TERMS * EACH
    terms = tuple(f"t{row // EACH}" for row in range(n))
    labels = np.array(["stereotype", "anti-stereotype"])[np.arange(n) % 2]
    return Question("stereotype", "work", np.arange(n), labels, terms, ("work",) * n,
                    tuple(wordings or (f"w{row}" for row in range(n))))  # fmt: skip


def signal(rng, asked, strength) -> np.ndarray:
    """One direction tells the labels; every term has a place of its own, which no label follows."""
    place = rng.standard_normal((TERMS, WIDTH)).repeat(EACH, axis=0)
    states = 0.5 * place + rng.standard_normal((TERMS * EACH, WIDTH))
    states[:, 3] += strength * np.where(asked.labels == "stereotype", 1.0, -1.0)
    return states


@pytest.mark.slow
def test_a_signal_is_found_on_unseen_terms_and_both_controls_stay_at_chance() -> None:
    rng = np.random.default_rng(0)
    asked = question(rng)
    found = scores(asked, [read(signal(rng, asked, 2.0), asked), read(signal(rng, asked, 0.0), asked)])
    before, after = found.stages
    assert before.accuracy.value > 93  # Phi(2 / sqrt 1.25) = 96 %: the noise and the term's own place
    assert before.selectivity.low > 30
    for stage in (before, after):
        assert stage.shuffled.value == pytest.approx(50, abs=6) and stage.control.value < 60
    assert after.accuracy.low < 50 < after.accuracy.high
    assert found.accuracy_change.high < -30


def test_what_is_known_by_heart_is_not_selective() -> None:
    """Two wordings, one a label: the probe reads it everywhere, and the control task just as well."""
    rng = np.random.default_rng(1)
    asked = question(rng, wordings=["lazy", "kind"] * (TERMS * EACH // 2))
    found = scores(asked, [read(signal(rng, asked, 4.0), asked, seed=4)]).stages[0]
    assert found.accuracy.value > 97
    assert found.control.value > 97 and abs(found.selectivity.value) < 3


def test_leace_leaves_nothing_to_read() -> None:
    leace = pytest.importorskip("concept_erasure", reason="needs the extra [erasure]").LeaceFitter
    import torch

    rng = np.random.default_rng(2)
    asked = question(rng)
    states = signal(rng, asked, 2.0)
    x, z = torch.tensor(states), torch.tensor(asked.labels == "stereotype").double()[:, None]
    erased = leace.fit(x, z).eraser(x).numpy()
    assert scores(asked, [read(states, asked)]).stages[0].accuracy.low > 85
    assert scores(asked, [read(erased, asked)]).stages[0].accuracy.value < 52


def test_knowing_a_term_does_not_help_on_others() -> None:
    """Labels that follow the term alone are read by heart within terms, and at chance across them."""
    rng = np.random.default_rng(3)
    place = 5 * rng.standard_normal((TERMS, WIDTH)).repeat(EACH, axis=0)
    states = place + rng.standard_normal((TERMS * EACH, WIDTH))
    of_term = rng.permutation(np.array(["a", "b"]).repeat(TERMS // 2))
    labels, terms = of_term.repeat(EACH), tuple(str(row // EACH) for row in range(TERMS * EACH))
    unseen = dealt(terms, tuple(labels.tolist()), seed=0)
    seen = dealt([str(row) for row in range(len(terms))], tuple(labels.tolist()), seed=0)
    assert (predicted(states, labels, seen) == labels).mean() > 0.9
    assert (predicted(states, labels, unseen) == labels).mean() < 0.75


def test_folds_hold_whole_clusters_and_something_of_every_stratum() -> None:
    clusters = [f"c{row % 7}" for row in range(40)]
    strata = ["big" if row % 7 < 5 else "small" for row in range(40)]
    folds = dealt(clusters, strata, seed=1)
    assert all(len({folds[row] for row in range(40) if clusters[row] == name}) == 1 for name in clusters)
    for fold in set(folds):
        assert {strata[row] for row in range(40) if folds[row] != fold} == {"big", "small"}
    assert sorted(np.bincount(dealt(list("abcd"), ["s"] * 4, seed=0, folds=2))) == [2, 2]
    with pytest.raises(ValueError, match="one cluster only"):
        dealt(["a", "a"], ["s", "s"], seed=0)


def test_balanced_accuracy_by_hand() -> None:
    assert balanced(np.array([3 / 6, 1 / 6, 4 / 6, 2 / 6])) == pytest.approx(62.5)  # 3 of 4 and 1 of 2
    assert balanced(np.array([0.5, 0.0, 1.0, 0.0])) == pytest.approx(50)  # a draw without the second class


# --- angles -----------------------------------------------------------------------------------------------------------


def test_angles_by_hand() -> None:
    axes = np.eye(4)
    assert subspaces.subspace_angle(axes[:, :2], axes[:, :2]) == pytest.approx(0, abs=1e-6)
    assert subspaces.subspace_angle(axes[:, :2], axes[:, 2:]) == pytest.approx(90)
    assert subspaces.subspace_angle(axes[:, :2], axes[:, 1:3]) == pytest.approx(45)  # one direction shared, one not
    assert subspaces.angle(axes[0], -3 * axes[0]) == pytest.approx(180)
    assert subspaces.angle(axes[0], axes[0] + axes[1]) == pytest.approx(45)


@pytest.mark.parametrize("rows", [10, 60])
def test_components_are_those_of_a_singular_value_decomposition(rows: int) -> None:
    differences = np.random.default_rng(0).standard_normal((rows, 30)) * np.linspace(3, 0.1, 30)
    expected = np.linalg.svd(differences, full_matrices=False)[2][:3].T
    assert subspaces.subspace_angle(subspaces.components(differences), expected) == pytest.approx(0, abs=1e-4)
    flipped = differences * np.random.default_rng(1).choice([-1, 1], (rows, 1))  # which one is the stereotype: unknown
    assert subspaces.subspace_angle(subspaces.components(flipped), expected) == pytest.approx(0, abs=1e-4)


def test_types_that_share_a_direction_are_as_near_as_halves_of_one() -> None:
    rng = np.random.default_rng(5)
    shared, own = np.eye(50)[0], np.eye(50)[1]
    made = {name: rng.standard_normal((120, 50)) + toward for name, toward in
            (("a", shared), ("b", shared), ("c", own), ("opposite", -shared), ("nothing", 0 * own))}  # fmt: skip
    terms = {name: [f"t{row % 12}" for row in range(120)] for name in made}
    found = subspaces.angles(made, terms).direction

    def of(one: str, other: str) -> float:
        return found[one][other].value

    # A mean of 60 differences is 1 along the direction and has a noise of squared length 50 / 60: cos = 1 / (1 + 5 / 6)
    assert of("a", "a") == pytest.approx(57, abs=6) and of("a", "b") == pytest.approx(57, abs=6)
    assert of("a", "b") == pytest.approx(of("b", "a"))
    assert of("a", "c") == pytest.approx(90, abs=8) and of("a", "opposite") > 125
    assert of("nothing", "nothing") > 70
    assert subspaces.angles(made, terms).chance_direction.value == pytest.approx(90, abs=8)


def test_halves_split_by_term() -> None:
    terms = ["a"] * 5 + ["b"] * 5 + ["c"] * 4
    first = subspaces.halves(terms, np.random.default_rng(0))
    assert {len({first[row] for row in range(14) if terms[row] == name}) for name in terms} == {1}
    assert 4 <= first.sum() <= 10


# --- questions and states ---------------------------------------------------------------------------------------------


def pair(bias_type: str, target: str, number: int) -> Triplet:
    one, other = (Sentence(f"{target}{number}{side}", f"The {target} is {word}{number}.")
                  for side, word in (("s", "bad"), ("a", "good")))  # fmt: skip
    return Triplet(f"{target}{number}", bias_type, "intrasentence", f"The {target} is BLANK.", one, other, None, target)


def test_questions_and_what_is_left_out() -> None:
    people = ("mother", "herself", "father", "schoolboy", "plumber")
    clusters = [pair("gender", term, n) for term in people for n in range(5)]
    clusters += [pair("age", "pensioner", n) for n in range(5)] + [pair("age", "toddler", 0)]
    clusters.append(pair("faith", "monk", 0))
    asked, left_out = questions(clusters, {"gender": load_term_list("gender")})
    found = {(one.asks, one.bias_type): one for one in asked}
    group = found["group", "gender"]
    assert group.classes == ("he", "she") and set(group.clusters) == {"mother", "herself", "father", "schoolboy"}
    assert "group (gender): 5 of 25 pairs left out, their label is unknown or too rare" in left_out
    assert found["stereotype", "age"].wordings[:2] == ("bad0", "good0")
    assert list(found["stereotype", "age"].labels[:2]) == ["stereotype", "anti-stereotype"]
    assert found["stereotype", "age"].rows[0] == 50  # the 26th pair
    assert len(set(found["target term", "gender"].clusters)) == 25  # pairs
    assert ("stereotype", "faith") not in found and "stereotype (faith): only one target term, so that none is unseen" \
        in left_out  # fmt: skip
    assert found["bias type", ""].classes == ("age", "gender")  # faith has a single term
    assert "bias type: 1 of 32 pairs left out, their label is unknown or too rare" in left_out


def test_sides_of_terms() -> None:
    assert [side_of(term, load_term_list("gender")) for term in ("schoolgirl", "Himself", "hers", "table")] == [
        "she", "he", "she", None]  # fmt: skip
    assert side_of("japan", load_term_list("race")) == "Asia"


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_layers_of_a_passage_are_its_own_tokens(family: str) -> None:
    import torch

    loaded = tiny.masked() if family == "bert" else tiny.causal(family)
    passage = Passage("The nurse said that", " she was tired.")
    found = {how: embed_layers(loaded, [passage], (0, 1, 2), pooling=how)[:, 0] for how in ("mean", "last")}
    whole = loaded.tokenizer.encode(passage.prefix + passage.text, add_special_tokens=False)
    head = len(loaded.tokenizer.encode(passage.prefix, add_special_tokens=False))
    start = loaded.tokenizer.bos_token_id if family != "bert" else loaded.tokenizer.cls_token_id
    ids = [start, *whole, *([loaded.tokenizer.sep_token_id] if family == "bert" else [])]
    with torch.no_grad():
        states = loaded.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    for layer in (0, 1, 2):
        own = states[layer][0, 1 + head : 1 + len(whole)].numpy()
        np.testing.assert_allclose(found["mean"][layer], own.mean(0), atol=1e-4)
        np.testing.assert_allclose(found["last"][layer], own[-1], atol=1e-4)
    alone = embed_layers(loaded, [Passage("", "It rains.")], (-1,))[0, 0]
    np.testing.assert_allclose(alone, embed(loaded, ["It rains."])["mean"][0], atol=1e-6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe")
    loaded = tiny.gpt2()
    tiny.save(loaded, folder / "model")
    write_pairs(folder / "pairs.jsonl", bias_types=("old", "new"))
    from biasunlearn.config import DebiasConfig
    from biasunlearn.models.adapters import trainable, with_lora

    adapted = with_lora(loaded.model, DebiasConfig(lora_rank=2))
    for parameter in trainable(adapted).values():
        parameter.data.normal_(std=0.3)
    adapted.save_pretrained(folder / "adapter")
    return folder


@pytest.mark.slow
def test_the_command_reads_before_and_after(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["probe", str(place / "model"), "--adapter", str(place / "adapter"), "--data", str(place / "pairs.jsonl"),
               "--out", str(place / "out")]  # fmt: skip
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["probes"]
    assert found["layers"] == [0, 1, 2] and found["stages"] == ["before", "after"]
    asked = {(one["asks"], one["bias_type"]): one for one in found["questions"]}
    assert ("stereotype", "old") in asked and ("bias type", "") in asked
    embeddings = asked["stereotype", "old"]["layers"]["0"]
    assert embeddings["stages"][0] == embeddings["stages"][1] and embeddings["change"]["accuracy"]["value"] == 0
    assert found["angles"]["0"]["turned"]["old"] == pytest.approx(0, abs=1e-3)
    assert found["angles"]["2"]["turned"]["old"] > 1
    assert json.loads((place / "out/results.json").read_text())["probes"] == found
    assert main(command) == 2
    assert "already holds a finished run" in capsys.readouterr().err


@pytest.mark.slow
def test_one_stage_without_an_adapter(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", str(place / "model"), "--data", str(place / "pairs.jsonl"), "--out", str(place / "one"),
                 "--layers", "2", "--pool", "last"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "Linear probes at layer 2" in said and "halves of" in said and "change" not in said


def test_wrong_requests_are_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["probe", str(place / "model"), "--data", str(place / "pairs.jsonl"), "--out", str(place / "wrong")]
    assert main([*base, "--layers", "3"]) == 2
    assert "--layers 3: the model has layers 0 to 2" in capsys.readouterr().err
    assert main([*base, "--groups", "gender"]) == 2
    assert "a list of bias type 'gender', of which the data has no pairs" in capsys.readouterr().err
    assert not (place / "wrong").exists()
