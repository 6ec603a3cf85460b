"""`measure` and `debias` in Python: models and data in memory, and results as objects."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch

from biasunlearn import DebiasConfig, RequestError, debias, load_results, measure
from biasunlearn.commands.evaluation import partial_facts, with_data, with_limit
from biasunlearn.data.sample import sampled
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from tests import test_cli, tiny

QUICK = dict(
    max_steps=4, first_evaluation=2, evaluate_every=2, forget_batch=4, retain_batch=4, unrelated_batch=2, swap_noise=0.0
)


def state_of(model: Any) -> dict[str, Any]:
    """Everything about a model that must not change: bits, modes, gradients, hooks, classes and adapters."""
    modules = dict(model.named_modules())
    return {
        "bits": {name: value.detach().clone() for name, value in model.state_dict().items()},
        "places": {name: p.data_ptr() for name, p in model.named_parameters()},
        "learns": {name: (p.requires_grad, p.grad is None) for name, p in model.named_parameters()},
        "modes": {name: module.training for name, module in modules.items()},
        "classes": {name: type(module) for name, module in modules.items()},
        "hooks": {
            name: [len(getattr(module, kind)) for kind in
                   ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_state_dict_hooks")]
            for name, module in modules.items()
        },
        "adapters": {
            name: (module.disable_adapters, list(module.active_adapters))
            for name, module in modules.items() if isinstance(getattr(module, "disable_adapters", None), bool)
        },
        "dtypes": {name: (p.dtype, p.device) for name, p in model.named_parameters()},
    }  # fmt: skip


def assert_same_state(model: Any, before: dict[str, Any]) -> None:
    after = state_of(model)
    for key in before.keys() - {"bits"}:
        assert after[key] == before[key], key
    assert after["bits"].keys() == before["bits"].keys()
    for name, value in before["bits"].items():
        assert torch.equal(after["bits"][name], value), name


def with_adapter(loaded: Any, *, off: bool = False) -> Any:
    """A PEFT model whose adapter does something."""
    import peft

    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False)
    model = peft.get_peft_model(copy.deepcopy(loaded.model), config)
    if off:
        model.base_model.disable_adapter_layers()
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    tiny.save(tiny.gpt2(n_positions=1024), folder / "model")
    test_cli.write_pairs(folder / "train.jsonl")
    test_cli.write_pairs(folder / "report.jsonl", bias_types=("old", "new"))
    return folder


@pytest.fixture
def loaded(place: Path) -> Any:
    from biasunlearn.models.load import load

    return load(str(place / "model"))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def sources(path: Path) -> dict[str, Any]:
    import datasets

    rows = rows_of(path)
    found = {"list": rows, "pandas": pandas.DataFrame(rows), "datasets": datasets.Dataset.from_list(rows)}
    return {"path": path, "text": str(path), **found}


def scores(results: Any) -> Any:
    """All figures, without the names of the data."""
    table = results.to_pandas().astype(object)
    return table.where(table.notna(), None).to_dict("list")


@pytest.mark.slow
def test_measure_gives_the_same_figures_from_every_kind_of_data(place: Path, loaded: Any) -> None:
    found = {
        kind: measure(loaded.model, {"stereoset": data}, tokenizer=loaded.tokenizer)
        for kind, data in sources(place / "report.jsonl").items()
    }
    first = scores(found["path"])
    assert first["value"] and all(scores(one) == first for one in found.values())
    assert len({one.benchmarks.stereoset.sha256 for one in found.values()}) == 1
    changed = rows_of(place / "report.jsonl")[:40]  # the comparison can fail
    assert scores(measure(loaded.model, {"stereoset": changed}, tokenizer=loaded.tokenizer)) != first


@pytest.mark.slow
def test_polars_frames(place: Path, loaded: Any) -> None:
    polars = pytest.importorskip("polars", reason="needs polars")
    rows = rows_of(place / "report.jsonl")
    found = [
        measure(loaded.model, {"stereoset": data}, tokenizer=loaded.tokenizer)
        for data in (rows, polars.DataFrame(rows))
    ]
    assert scores(found[0]) == scores(found[1])


@pytest.mark.slow
def test_a_model_in_memory_scores_as_its_folder_does(place: Path, loaded: Any) -> None:
    data = {"stereoset": place / "report.jsonl"}
    by_path, by_object = (
        measure(model, data, tokenizer=loaded.tokenizer) for model in (str(place / "model"), loaded.model)
    )
    assert by_path.to_pandas("items").equals(by_object.to_pandas("items"))
    assert by_path.model_source is None and by_object.model_source == "memory"


@pytest.mark.parametrize("kind", ["plain", "training mode", "frozen in part", "adapter", "adapter off", "half"])
def test_measure_leaves_the_model_as_it_was(kind: str, place: Path, loaded: Any) -> None:
    model = copy.deepcopy(loaded.model)
    if kind == "training mode":
        model.train()
        model.transformer.h[0].eval()
    elif kind == "frozen in part":
        model.transformer.wte.weight.requires_grad_(False)
        model.register_forward_hook(lambda *_: None)
    elif kind.startswith("adapter"):
        model = with_adapter(loaded, off=kind == "adapter off")
    elif kind == "half":
        model = model.to(torch.bfloat16)
    before = state_of(model)
    results = measure(model, {"stereoset": place / "report.jsonl"}, tokenizer=loaded.tokenizer)
    assert_same_state(model, before)
    assert results.protocol.dtype == ("bfloat16" if kind == "half" else "float32")
    assert any("its adapter default, switched on" in note for note in results.protocol.notes) == (kind == "adapter")


def test_a_change_of_the_model_would_be_seen(loaded: Any) -> None:
    model = copy.deepcopy(loaded.model)
    before = state_of(model)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight[0, 0] += 1e-3
    with pytest.raises(AssertionError):
        assert_same_state(model, before)


@pytest.mark.slow
def test_an_adapter_that_is_on_is_measured_and_one_that_is_off_is_not(place: Path, loaded: Any) -> None:
    data = {"stereoset": place / "report.jsonl"}
    plain, on, off = (
        scores(measure(model, data, tokenizer=loaded.tokenizer))
        for model in (loaded.model, with_adapter(loaded), with_adapter(loaded, off=True))
    )
    assert plain == off != on


@pytest.mark.slow
@pytest.mark.by_day("changes0", "changes2")
@pytest.mark.parametrize(
    "changes", [{}, {"lora_rank": 0}, {"method": "mlp_edit"}, {"method": "dropout"}, {"method": "debiasing_prompt"}]
)
def test_debias_leaves_the_model_as_it_was(changes: dict[str, Any], place: Path, loaded: Any, tmp_path: Path) -> None:
    model = copy.deepcopy(loaded.model).train()
    before = state_of(model)
    results = debias(
        model, tokenizer=loaded.tokenizer, train=place / "train.jsonl", report=place / "report.jsonl",
        config=DebiasConfig(**{**QUICK, **changes}), out=tmp_path / "run",
    )  # fmt: skip
    assert_same_state(model, before)
    assert results.verdict is not None and load_results(tmp_path / "run") == results


@pytest.mark.slow
def test_debias_gives_the_same_adapter_from_every_kind_of_data(place: Path, loaded: Any, tmp_path: Path) -> None:
    found = {}
    train, report = (sources(place / name) for name in ("train.jsonl", "report.jsonl"))
    for kind in ("text", "list", "pandas"):
        found[kind] = debias(
            loaded.model, tokenizer=loaded.tokenizer, train=train[kind], report=report[kind],
            out=tmp_path / kind, config=DebiasConfig(**QUICK), options=EvalOptions(replacements=0),
        )  # fmt: skip
    path = debias(str(place / "model"), train=train["text"], report=report["text"], config=DebiasConfig(**QUICK),
                  options=EvalOptions(replacements=0))  # fmt: skip
    weights = {kind: (tmp_path / kind / "adapter/adapter_model.safetensors").read_bytes() for kind in found}
    assert len(set(weights.values())) == 1
    assert all(scores(one) == scores(path) for one in found.values())
    assert path.adapter is None and not path.to_pandas("items").empty  # nothing is kept but the results


@pytest.mark.slow
def test_debias_of_a_peft_model_merges_its_adapter_into_a_copy(place: Path, loaded: Any, tmp_path: Path) -> None:
    model = with_adapter(loaded)
    before = state_of(model)
    results = debias(
        model, tokenizer=loaded.tokenizer, train=place / "train.jsonl", report=place / "report.jsonl",
        out=tmp_path / "run", config=DebiasConfig(**QUICK),
    )  # fmt: skip
    assert_same_state(model, before)
    assert any("merged into a copy" in note for note in results.protocol.notes)
    measured = measure(model, {"stereoset": place / "report.jsonl"}, tokenizer=loaded.tokenizer)
    value = results.before.stereoset.overall.ss.value
    assert value == pytest.approx(measured.benchmarks.stereoset.overall.ss.value, abs=2)


def test_what_is_wrong_is_named_by_its_place(place: Path, loaded: Any) -> None:
    rows = rows_of(place / "report.jsonl")
    rows[2] = {**rows[2], "stereotype": None}
    for data, name in ((rows, "list"), (pandas.DataFrame(rows), "DataFrame")):
        with pytest.raises(RequestError, match=f"^row 3 of the {name} given as stereoset: field stereotype: missing"):
            measure(loaded.model, {"stereoset": data}, tokenizer=loaded.tokenizer)
    with pytest.raises(RequestError, match="row 3 of the list given as train: field stereotype: missing"):
        debias(loaded.model, tokenizer=loaded.tokenizer, train=rows, report=place / "report.jsonl")


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda m, t, p: measure(3, {"stereoset": p}), "model: must be a folder, a name on the hub .*is int"),
        (lambda m, t, p: measure(m, {"stereoset": p}), "tokenizer: the model does not say where it comes from"),
        (lambda m, t, p: measure(m, {"stereoset": p}, tokenizer=t, device="cpu"), "device: the model is loaded"),
        (lambda m, t, p: measure(m, {"stereoset": p}, tokenizer=t, dtype="float16"), "dtype: the model is loaded"),
        (lambda m, t, p: measure(m.transformer, {"stereoset": p}, tokenizer=t), "a GPT2Model has no output layer"),
        (lambda m, t, p: measure(m, [p], tokenizer=t), "benchmarks: must be a dict such as .* is list"),
        (lambda m, t, p: measure(m, {"stereoset": 3}, tokenizer=t), "stereoset: must be a path, .*is int"),
        (lambda m, t, p: measure(m, {"bold": [{"a": 1}]}, tokenizer=t), "bold: needs the path of its files"),
        (lambda m, t, p: measure(m, {"stereoset": []}, tokenizer=t), "the list given as stereoset: no usable rows"),
        (lambda m, t, p: measure(m, {"stereoset": p}, tokenizer=t, limit=0), "limit: 0; must be a whole number"),
        (lambda m, t, p: debias(m, tokenizer=t, train=p, report=p, resume=True), "resume: there is nothing to resume"),
    ],
)
def test_a_wrong_request_is_one_line(request_of: Any, message: str, place: Path, loaded: Any) -> None:
    model = copy.deepcopy(loaded.model)
    model.name_or_path = ""
    with pytest.raises(RequestError, match=message) as raised:
        request_of(model, loaded.tokenizer, str(place / "report.jsonl"))
    assert "\n" not in str(raised.value)


def test_a_peft_model_and_an_adapter_exclude_each_other(place: Path, loaded: Any) -> None:
    with pytest.raises(RequestError, match="adapter: the model has an adapter already"):
        measure(
            with_adapter(loaded), {"stereoset": place / "report.jsonl"}, tokenizer=loaded.tokenizer, adapter="gone"
        )


def test_the_tokenizer_is_left_as_it_was(place: Path, loaded: Any) -> None:
    tokenizer = tiny.byte_level(bos=False, eos=False)
    model = copy.deepcopy(loaded.model)
    model.config.bos_token_id = 0
    results = measure(model, {"stereoset": place / "report.jsonl"}, tokenizer=tokenizer)
    assert tokenizer.bos_token is None
    assert any("start token" in note for note in results.protocol.notes)


@pytest.mark.slow
def test_items_of_stereoset_in_memory(place: Path, loaded: Any) -> None:
    """As the official JSON has them, and as a data set of the hub has them."""
    import datasets

    labels = ("stereotype", "anti-stereotype", "unrelated")
    items, of_hub = [], []
    for number, row in enumerate(rows_of(place / "report.jsonl")):
        texts = (row["stereotype"], row["anti_stereotype"], row["unrelated"])
        same = {key: row[key] for key in ("bias_type", "target", "context")} | {"id": f"i{number + 1}"}
        names = [f"i{number}-{label}" for label in labels]
        items.append({**same, "sentences": [
            {"id": name, "sentence": text, "gold_label": label}
            for name, text, label in zip(names, texts, labels, strict=True)
        ]})  # fmt: skip
        of_hub.append({**same, "sentences": {"id": names, "sentence": list(texts), "gold_label": [1, 0, 2]}})
    found = [
        scores(measure(loaded.model, {"stereoset": data}, tokenizer=loaded.tokenizer))
        for data in (str(place / "report.jsonl"), items, datasets.Dataset.from_list(of_hub))
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_limit_is_seeded_stratified_and_marked(place: Path, loaded: Any, tmp_path: Path) -> None:
    results = [
        measure(loaded.model, {"stereoset": place / "report.jsonl"}, tokenizer=loaded.tokenizer, limit=10,
                out=tmp_path / name)
        for name in "ab"
    ]  # fmt: skip
    first = results[0]
    assert {name: row.n for name, row in first.benchmarks.stereoset.bias_types.items()} == {"old": 5, "new": 5}
    assert first.to_pandas("items").equals(results[1].to_pandas("items"))
    assert first.to_dict()["partial"] == {
        "limit": 10, "seed": 0, "benchmarks": {"stereoset": {"n": 10, "of": 64}},
    }  # fmt: skip
    assert first.to_markdown().startswith("**PARTIAL: 10 of 64 items of stereoset were measured**")
    page = (tmp_path / "a/report.html").read_text()
    assert page.index("10 of 64 items of stereoset were measured") < page.index("<h1")
    whole = measure(loaded.model, {"stereoset": place / "report.jsonl"}, tokenizer=loaded.tokenizer, limit=64)
    assert whole.partial is None and whole.benchmarks.stereoset.n == 64


def test_a_plan_whose_data_are_read_again_stays_partial(place: Path) -> None:
    """A series reads them once for all of its runs, and every run has the sample as well as the whole."""
    plan = with_data(EvalPlan({"stereoset": str(place / "report.jsonl")}, options=with_limit(None, 10)))
    again = with_data(plan)
    assert partial_facts(plan) == partial_facts(again) and again.data == plan.data
    assert len(again.source("stereoset").triplets) == 10 and len(again.whole("stereoset").triplets) == 64


def test_a_sample_has_the_shares_of_the_whole() -> None:
    """By hand: 8 of a and 2 of b; 5 items are 4 and 1, 3 items are 2 and 1 (2.4 and 0.6), 1 item leaves one of each."""
    types = ["a"] * 8 + ["b"] * 2
    for count, expected in ((5, (4, 1)), (3, (2, 1)), (1, (1, 1)), (10, (8, 2)), (99, (8, 2))):
        chosen = sampled(types, count, seed=0)
        assert chosen == sorted(set(chosen))
        assert tuple([types[number] for number in chosen].count(name) for name in "ab") == expected
    assert sampled(types, 5, seed=0) == sampled(types, 5, seed=0) != sampled(types, 5, seed=1)


def test_results_are_compared_pickled_and_read_back(place: Path, loaded: Any, tmp_path: Path) -> None:
    results = measure(
        loaded.model, {"stereoset": place / "report.jsonl"}, tokenizer=loaded.tokenizer, out=tmp_path / "run"
    )
    again, stored = pickle.loads(pickle.dumps(results)), load_results(tmp_path / "run")
    assert results == again == stored
    assert stored.to_dict() == json.loads((tmp_path / "run/results.json").read_text())
    assert results.to_pandas("items").equals(stored.to_pandas("items"))
    assert again.to_pandas("items").equals(stored.to_pandas("items"))
    assert len(results.to_pandas("items")) == 3 * 64
    assert results != results.with_values(model="other") and results != 3


def test_nothing_from_the_data_is_markup(place: Path, loaded: Any) -> None:
    rows = [{**row, "bias_type": "<b>old</b>|*x*" if row["bias_type"] == "old" else "new"}
            for row in rows_of(place / "report.jsonl")]  # fmt: skip
    results = measure(loaded.model, {"stereoset": rows}, tokenizer=loaded.tokenizer)
    shown, text = results._repr_html_(), results.to_markdown()
    assert "<b>" not in shown + text and "&lt;b&gt;old&lt;/b&gt;|*x*" in shown
    assert r"\|\*x\*" in text
    assert shown.count("<tr>") == 4 and "<caption>stereoset</caption>" in shown


@pytest.mark.slow
def test_plot(place: Path, loaded: Any) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="needs the extra [plot]")
    matplotlib.use("Agg")
    results = measure(loaded.model, {"stereoset": place / "report.jsonl"}, tokenizer=loaded.tokenizer)
    axes = results.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["new", "old", "overall"]
    assert axes.get_xlabel() == "stereoset: ss (ideal 50), 95 % intervals"
    assert results.plot(score="lms", ax=axes) is axes
    for given, message in (({"benchmark": "bbq"}, "no benchmark bbq"), ({"score": "x"}, "no score 'x'; there are: ss")):
        with pytest.raises(RequestError, match=message):
            results.plot(**given)


def test_plot_without_matplotlib(place: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    results = measure(loaded.model, {"stereoset": place / "report.jsonl"}, tokenizer=loaded.tokenizer)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RequestError, match=r"plot: needs matplotlib: pip install 'biasunlearn\[plot\]'"):
        results.plot()
