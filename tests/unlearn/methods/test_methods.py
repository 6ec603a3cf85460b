"""Every method from the command line on a tiny model: the same run folder, and `measure --adapter` sees what it did."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from biasunlearn.cli import main
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.method_defaults import SETTINGS
from biasunlearn.models.adapters import reference, trainable, with_lora
from biasunlearn.models.batches import Batch, collate, encode
from biasunlearn.models.blocks import block_output
from biasunlearn.models.erased import Erased
from biasunlearn.models.forward import evaluating, hidden_states
from biasunlearn.models.load import load
from biasunlearn.models.prompted import FLOOR, Prompted, behind, inserted, self_debiased
from biasunlearn.models.spec import ModelSpec
from biasunlearn.models.weights_hash import weights_hash
from biasunlearn.scoring.log_prob import score
from biasunlearn.unlearn.evaluation import StopScores
from biasunlearn.unlearn.methods import cda, mlp_edit, projection, steering, task_vector
from biasunlearn.unlearn.methods.task import Task, nearest
from biasunlearn.unlearn.objectives import OBJECTIVES
from biasunlearn.unlearn.sets import training_sets
from tests import tiny
from tests.test_cli import write_pairs
from tests.unlearn.evaluations import score as score_of
from tests.unlearn.test_trainer import CLUSTERS, config

TEXT = [
    "The man went to the town with his uncle.", "She said that her mother is kind.", "It rains on the table.",
    "My father is a poet.", "The nurse is tired.", "A woman came to the house.",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with room for prompts, training and report pairs, ordinary text, a benchmark of text."""
    folder = tmp_path_factory.mktemp("place")
    tiny.save(tiny.gpt2(n_positions=600), folder / "model")
    write_pairs(folder / "train.jsonl", bias_types=("gender", "age"))
    write_pairs(folder / "report.jsonl", bias_types=("old", "new"))
    (folder / "corpus.txt").write_text("\n".join(TEXT))
    (folder / "text.txt").write_text("The baker is quick and the pilot is kind. " * 10)
    return folder


def debias(place: Path, out: Path, method: str, *more: str) -> int:
    small = (
        "max_steps=2", "swap_noise=0",
        "first_evaluation=1", "evaluate_every=1", "forget_batch=4", "unrelated_batch=2", "lora_rank=4",
    )  # fmt: skip
    return main(["debias", str(place / "model"), "--method", method, "--train", str(place / "train.jsonl"),
                 "--unrelated", str(place / "corpus.txt"), "--report", str(place / "report.jsonl"), "--out", str(out),
                 "--replacements", "0", *(part for value in small for part in ("--set", value)), *more])  # fmt: skip


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


MEASURED_AGAIN = ("dpo", "leace", "task_vector", "mlp_edit", "bias_neurons", "self_debias", "debiasing_prompt")
"""One method of each kind of adapter: its adapter is also measured on its own."""


@pytest.mark.slow
@pytest.mark.by_day("trl:dpo", "dpo", "leace", "mlp_edit", "self_debias")  # biasunlearn: tests/test_cli.py
@pytest.mark.parametrize("method", [
    method if method == "biasunlearn" else pytest.param(method, marks=pytest.mark.slow) for method in SETTINGS
])  # fmt: skip
def test_every_method_leaves_the_same_run_folder_and_an_adapter_to_measure_with(
    place: Path, tmp_path: Path, method: str
) -> None:
    if method.startswith("trl:"):
        pytest.importorskip("trl", reason="TRL is not installed (extra: trl)")
    text = ("--benchmark", f"perplexity={place / 'text.txt'}")
    assert debias(place, tmp_path / "run", method, *text) == 0
    stored = results(tmp_path / "run")
    assert stored["method"] == stored["config"]["method"] == method
    assert stored["stopped"]["step"] == (2 if method in OBJECTIVES or method.startswith("trl:") else 0)
    names = {path.name for path in (tmp_path / "run").iterdir()} - {"metrics.jsonl"}
    assert names == {"config.yaml", "results.json", "items.parquet", "report.html", "adapter"}
    if method not in MEASURED_AGAIN:
        return
    assert main(["measure", str(place / "model"), "--adapter", str(tmp_path / "run/adapter"), "--benchmark",
                 f"stereoset={place / 'report.jsonl'}", *text, "--replacements", "0", "--out",
                 str(tmp_path / "again")]) == 0  # fmt: skip
    again = results(tmp_path / "again")["benchmarks"]
    for name in ("ss", "lms", "icat"):
        assert again["stereoset"]["overall"][name] == stored["benchmarks"]["stereoset"]["overall"][name]
    assert again["perplexity"]["per_token"] == pytest.approx(stored["benchmarks"]["perplexity"]["per_token"], rel=1e-5)


@pytest.mark.slow
def test_a_method_without_evaluations_keeps_its_last_step_and_has_not_failed(place: Path, tmp_path: Path) -> None:
    """The goal of the invariance loss is not an SS of 50, so that no evaluation can be better than the base model."""
    assert debias(place, tmp_path / "run", "invariance", "--set", "learning_rate=0.02") == 0
    stored = results(tmp_path / "run")
    assert stored["stopped"]["best_step"] == stored["stopped"]["step"] == 2
    assert stored["verdict"]["value"] != "failed"
    margins = [stored[stage]["stereoset"]["overall"]["mean_margin"] for stage in ("before", "benchmarks")]
    assert margins[0] != margins[1]


def loaded_task(loaded: Any, **changes: Any) -> Task:
    sets = training_sets(CLUSTERS, TEXT, adversarial_share=0.0, seed=0)
    first = StopScores({"gender": score_of(60.0, width=5.0)}, 90.0)
    return Task(loaded, sets, config(**changes), None, lambda _model: first, first)  # type: ignore[arg-type]


# --- weights -------------------------------------------------------------------------------------------------------


def test_a_task_vector_at_scale_0_is_the_base_and_at_1_the_reflection() -> None:
    loaded = tiny.gpt2()
    plain = [found.log_prob for found in score(loaded, [Passage("", text) for text in TEXT])]
    model = with_lora(loaded.model, config())
    tiny.perturb(model)
    vector = {name: p.detach().clone() for name, p in trainable(model).items() if "lora_B" in name}
    first = next(iter(vector))
    task_vector.subtracted(model, vector, 0.0)
    assert [found.log_prob for found in score(loaded.with_model(model), [Passage("", text) for text in TEXT])] == plain
    task_vector.subtracted(model, vector, 1.0)
    assert torch.equal(trainable(model)[first], -vector[first])


def test_a_search_keeps_the_nearest_within_the_floor_and_the_base_where_none_is_nearer() -> None:
    def looks(found: dict[Any, tuple[float, float]]) -> Any:
        def look(candidate: Any) -> StopScores:
            ss, lms = found[candidate]
            return StopScores({"gender": score_of(ss, width=5.0)}, lms)

        return look

    def search(found: dict[Any, tuple[float, float]]) -> Any:
        task = loaded_task(tiny.gpt2())
        task = Task(task.loaded, task.sets, task.config, task.checkpointer, looks(found), task.base_scores)
        return nearest(task, found, lambda candidate: candidate)[0]

    assert search({1: (55.0, 90.0), 2: (52.0, 89.0), 3: (50.0, 70.0)}) == 2
    assert search({1: (61.0, 90.0), 2: (35.0, 90.0)}) is None


def test_the_least_squares_update_writes_what_it_is_asked_to_and_spares_other_keys() -> None:
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    residuals = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    nothing = torch.zeros(12, 1, dtype=torch.float64)
    delta = mlp_edit.solved(keys, residuals, nothing)
    assert torch.allclose(delta @ keys, residuals, atol=1e-4)
    # Other keys orthogonal to these are not touched at all.
    other = torch.linalg.qr(torch.cat([keys, torch.randn(12, 4, generator=generator, dtype=torch.float64)], 1)).Q[:, 3:]
    assert (mlp_edit.solved(keys, residuals, other) @ other).abs().max() < 1e-6


def test_the_residual_of_an_edit_takes_the_margin_to_zero_to_first_order() -> None:
    loaded = tiny.gpt2()
    name = mlp_edit.edited_module(loaded.model)
    assert name == "transformer.h.1.mlp.c_proj"
    pair = (Passage("The nurse is", " tired."), Passage("The nurse is", " loud."))
    _, residual = mlp_edit.written(loaded, name, [pair])

    def margin(shift: torch.Tensor) -> float:
        def move(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[:, place] += shift
            return output

        place = len(loaded.tokenizer.encode("The nurse is"))  # behind the start token: the last of the prefix
        handle = loaded.model.get_submodule(name).register_forward_hook(move)
        one, other = score(loaded, pair)
        handle.remove()
        return one.mean - other.mean

    step = residual[:, 0].float()
    before, tenth = margin(0 * step), margin(step / 100)
    assert tenth - before == pytest.approx(-before / 100, rel=0.1) or step.norm() < 1e-6


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_has_a_matrix_to_edit(family: str) -> None:
    model = tiny.causal(family).model
    name = mlp_edit.edited_module(model)
    weight = model.get_submodule(name).weight
    assert sorted(weight.shape) == sorted({tiny.WIDTH, max(weight.shape)}) and max(weight.shape) > tiny.WIDTH


# --- representation ------------------------------------------------------------------------------------------------


def told_apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Share that a linear reader of these very representations gets right; one half is chance."""
    rows = torch.cat([one, other])
    read = (rows - rows.mean(0)) @ projection.classifier_direction(rows, len(one))
    return float(((read > 1e-9) == (torch.arange(len(rows)) < len(one))).double().mean())


def sides(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two clouds of 200 points in 16 dimensions that differ along two of them."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 200, 16, generator=generator, dtype=torch.float64)
    return noise[0] + torch.tensor([2.0, 1.0] + [0.0] * 14), noise[1]


@pytest.mark.parametrize("fit", [projection.fit_leace, projection.fit_inlp, projection.fit_sentence_debias])
def test_what_is_erased_cannot_be_read_by_a_line_any_more(fit: projection.Fit) -> None:
    one, other = sides()
    assert told_apart(one, other) > 0.85
    matrix, center = fit([(one, other)])
    after = [side - (side - center) @ matrix.T for side in (one, other)]
    limit = {projection.fit_leace: 0.55, projection.fit_inlp: 0.6, projection.fit_sentence_debias: 0.75}[fit]
    assert told_apart(after[0], after[1]) < limit
    assert torch.allclose(matrix @ matrix, matrix, atol=1e-6)  # doing it twice is doing it once


def test_after_leace_both_sides_have_the_same_mean_and_little_else_has_moved() -> None:
    one, other = sides()
    matrix, center = projection.fit_leace([(one, other)])
    after = [side - (side - center) @ matrix.T for side in (one, other)]
    assert torch.allclose(after[0].mean(0), after[1].mean(0), atol=1e-6)
    assert int(torch.linalg.matrix_rank(matrix, rtol=1e-6)) == 1


def test_an_erasure_off_is_the_base_and_benchmarks_of_both_kinds_see_it_on() -> None:
    loaded = tiny.gpt2()
    passages = [Passage("", text) for text in TEXT]
    plain, hidden = [found.log_prob for found in score(loaded, passages)], _hidden(loaded)
    before = weights_hash(loaded.model)
    matrix = torch.zeros(tiny.WIDTH, tiny.WIDTH)
    matrix[0, 0] = 1.0
    erased = loaded.with_model(Erased(loaded.model, matrix, torch.full((tiny.WIDTH,), 0.5)))
    assert weights_hash(erased.model) != before
    changed = [found.log_prob for found in score(erased, passages)]
    assert max(abs(a - b) for a, b in zip(changed, plain, strict=True)) > 0.01
    assert torch.allclose(_hidden(erased)[..., 0], torch.tensor(0.5), atol=1e-6)
    assert torch.equal(_hidden(erased)[..., 1:], hidden[..., 1:])
    with reference(erased.model):
        assert [found.log_prob for found in score(erased, passages)] == plain


def _hidden(loaded: Any) -> torch.Tensor:
    batch = collate(encode(loaded.tokenizer, [Passage("", TEXT[0])]))
    with evaluating(loaded.model):
        return hidden_states(loaded.model, batch)[-1]


def test_mean_states_are_those_of_each_sentence_by_itself_in_several_layers() -> None:
    """Sentences are read in batches of about the same length, and come back in their own order."""
    loaded = tiny.gpt2()
    passages = [Passage("", text[:length]) for text, length in zip(TEXT, (30, 8, 19, 12, 40, 9), strict=False)]
    whole = projection.represented(loaded, passages)
    layers = steering.states_of(loaded, passages, [1, 0])
    for number, passage in enumerate(passages):
        assert torch.allclose(projection.represented(loaded, [passage])[0], whole[number], atol=1e-5)
        (row,) = encode(loaded.tokenizer, [passage])
        with evaluating(loaded.model):
            own = [block_output(loaded.model, collate([row]), block)[0, row.first_scored :].mean(0) for block in (1, 0)]
        assert all(torch.allclose(one, layer[number], atol=1e-5) for one, layer in zip(own, layers, strict=True))


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_can_be_erased_and_prompted(family: str) -> None:
    loaded = tiny.causal(family)
    passages = [Passage("", text[:24]) for text in TEXT]
    plain = [found.log_prob for found in score(loaded, passages)]
    width = loaded.model.get_output_embeddings().weight.shape[1]
    assert projection.represented(loaded, passages).shape == (len(TEXT), width)
    ids = loaded.tokenizer.encode("It rains.", add_special_tokens=False)
    for state in (
        Prompted(loaded.model, "prompt", [{"text": "", "ids": ids}], start_of(loaded)),
        Erased(loaded.model, torch.eye(width) / 2, torch.zeros(width)),
    ):
        changed = [found.log_prob for found in score(loaded.with_model(state), passages)]
        assert max(abs(a - b) for a, b in zip(changed, plain, strict=True)) > 1e-3


def start_of(loaded: Any) -> int | None:
    from biasunlearn.models.batches import start_token

    return start_token(loaded.tokenizer)


# --- decoding ------------------------------------------------------------------------------------------------------


def test_self_debiasing_by_hand() -> None:
    found = self_debiased(torch.tensor([0.5, 0.5]).log(), [torch.tensor([0.7, 0.3]).log()], 50.0)
    assert torch.allclose(found.exp(), torch.tensor([FLOOR * 0.5, 0.5]) / (FLOOR * 0.5 + 0.5), atol=1e-6)
    same = self_debiased(torch.tensor([0.2, 0.8]).log(), [torch.tensor([0.7, 0.3]).log()], 0.0)
    assert torch.allclose(same.exp(), torch.tensor([0.2, 0.8]), atol=1e-6)


def test_a_prompt_stands_behind_the_start_token_whichever_side_is_padded() -> None:
    # start token 1, prompt 8 9; the pad is 0
    right = inserted(torch.tensor([[1, 5, 6], [1, 7, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]), [8, 9], 1)
    assert right[0].tolist() == [[1, 8, 9, 5, 6], [1, 8, 9, 7, 0]]
    assert right[1].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert right[2].tolist() == [[2, 3, 4], [2, 3, 4]]
    left = inserted(torch.tensor([[0, 1, 7]]), torch.tensor([[0, 1, 1]]), [8, 9], 1)
    assert left[0].tolist() == [[0, 1, 8, 9, 7]] and left[1].tolist() == [[0, 1, 1, 1, 1]]
    bare = inserted(torch.tensor([[5, 6]]), torch.tensor([[1, 1]]), [8, 9], None)
    assert bare[0].tolist() == [[8, 9, 5, 6]] and bare[2].tolist() == [[2, 3]]


def test_a_prompted_score_is_the_score_given_the_prompt() -> None:
    loaded = tiny.gpt2(n_positions=200)
    text = "It rains.\n"
    passages = [Passage("", sentence) for sentence in TEXT]
    model = Prompted(loaded.model, "prompt", [{"text": text, "ids": loaded.tokenizer.encode(text)}], start_of(loaded))
    found = score(loaded.with_model(model), passages)
    expected = score(loaded, [Passage(text, sentence) for sentence in TEXT])
    assert [s.log_prob for s in found] == pytest.approx([s.log_prob for s in expected], abs=1e-3)
    assert model.config.max_position_embeddings == 200 - len(loaded.tokenizer.encode(text))
    with reference(model):
        plain = [s.log_prob for s in score(loaded, passages)]
        assert [s.log_prob for s in score(loaded.with_model(model), passages)] == pytest.approx(plain, abs=1e-4)


@pytest.mark.slow
@pytest.mark.by_day("prompt-gpt2", "self_debias-llama")
@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("kind", ["prompt", "self_debias"])
def test_sentences_that_begin_alike_are_read_once_behind_prompts(kind: str, family: str) -> None:
    """Together behind every prompt they score what they score alone; a warning would say that they are read apart."""
    loaded = tiny.causal(family)
    said = [{"text": text, "ids": loaded.tokenizer.encode(text, add_special_tokens=False)} for text in ("Rain", "It")]
    model = Prompted(loaded.model, kind, said if kind == "self_debias" else said[:1], start_of(loaded), 50.0)
    prompted = loaded.with_model(model)
    passages = [Passage("A man", end) for end in (" ran", " ran off", " sat", " is in")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = score(prompted, passages)
    alone = [score(prompted, [passage])[0] for passage in passages]
    assert [s.log_prob for s in together] == pytest.approx([s.log_prob for s in alone], abs=1e-4)
    plain = score(loaded, passages)
    assert max(abs(a.log_prob - b.log_prob) for a, b in zip(together, plain, strict=True)) > 1e-3


def test_lines_that_do_not_begin_with_the_start_token_are_refused() -> None:
    batch = Batch(torch.tensor([[5, 6]]), torch.zeros(1, 1, 2, 2), torch.tensor([0]), torch.tensor([6]),
                  torch.tensor([0]), rows=1)  # fmt: skip
    with pytest.raises(ValueError, match="start token"):
        behind(batch, [8, 9], 1)
    # without a start token the prompt is the beginning: 8 9 5 6, and what follows 5 is predicted two places later
    found = behind(batch, [8, 9], None)
    assert found.input_ids.tolist() == [[8, 9, 5, 6]] and found.positions.tolist() == [2]


@pytest.mark.parametrize("kind", ["prompt", "self_debias"])
def test_what_is_written_behind_a_prompt_comes_back_without_it(kind: str) -> None:
    from biasunlearn.scoring.generate import generate
    from biasunlearn.scoring.protocol import Sampling

    loaded = tiny.gpt2(n_positions=200)
    said = {"text": "It rains.\n", "ids": loaded.tokenizer.encode("It rains.\n")}
    model = Prompted(loaded.model, kind, [said], start_of(loaded), 50.0)
    sampling = Sampling(continuations=2, new_tokens=6)
    found = generate(loaded.with_model(model), ["The nurse", "A doctor came to"], sampling)
    assert [[one.tokens for one in both] for both in found] == [[6, 6], [6, 6]]
    assert found != generate(loaded, ["The nurse", "A doctor came to"], sampling)


# --- data ----------------------------------------------------------------------------------------------------------


def test_cda_trains_on_sentences_and_their_counterfactuals() -> None:
    sets = training_sets(CLUSTERS, TEXT, adversarial_share=0.0, seed=0)
    found = cda.augmented(sets, seed=0)
    assert found.bias_types == ("gender",)  # nothing of race stands in the text
    pairs = {one.text: other.text for one, other in found.pairs["gender"]}
    assert pairs["My father is a poet."] == "My mother is a poet."
    assert "It rains on the table." not in pairs


def test_cda_without_any_group_in_the_text_says_what_to_give() -> None:
    sets = training_sets(CLUSTERS, ["It rains."], adversarial_share=0.0, seed=0)
    with pytest.raises(RequestError, match="give ordinary text as --unrelated"):
        cda.augmented(sets, seed=0)


# --- wrong requests ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "more", "message"),
    [
        ("task_vector", ("--set", "lora_rank=0"), "method: task_vector: the vector is an adapter"),
        ("dop", (), "method: 'dop'; must be one of biasunlearn"),
        ("dpo", ("--set", "batch_pairs=independent"), "compares the sentences of a pair"),
    ],
)
def test_a_wrong_request_is_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, more: tuple[str, ...], message: str
) -> None:
    assert debias(place, tmp_path / "run", method, *more) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("biasunlearn: ")]
    assert len(told) == 1 and message in told[0]


def test_deepspeed_is_refused_and_not_ignored(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert debias(place, tmp_path / "run", "biasunlearn") == 2
    assert "DeepSpeed does not work yet" in capsys.readouterr().err


def test_a_saved_state_of_another_model_is_refused(place: Path, tmp_path: Path) -> None:
    save_file({"projection": torch.eye(7), "center": torch.zeros(7)}, tmp_path / "erasure.safetensors")
    with pytest.raises(RequestError, match="made for hidden states of 7 numbers, the model has 32"):
        load(ModelSpec(str(place / "model"), adapter=tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    content = {"kind": "prompt", "prompts": [{"text": "", "ids": [9999]}], "start": 0, "decay": 0.0}
    (other / "prompts.json").write_text(json.dumps(content))
    with pytest.raises(RequestError, match="token ids of another tokenizer"):
        load(ModelSpec(str(place / "model"), adapter=other))
    (other / "prompts.json").write_text("{")
    with pytest.raises(RequestError, match="not a file of prompts"):
        load(ModelSpec(str(place / "model"), adapter=other))
