"""Which model a stored run used, and the revision that its adapter names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from biasunlearn.commands.combine import _on_one_base
from biasunlearn.commands.debias import DebiasJob, save_trained
from biasunlearn.commands.transfer import DebiasRun
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.spec import Loading, ModelSpec, spec_of_run
from biasunlearn.runs.benchmark_results import Measured
from biasunlearn.runs.folder import SCHEMA, RunFolder
from biasunlearn.runs.results import Results
from biasunlearn.runs.run_files import Manifest, StoredRequest
from biasunlearn.runs.sections import ScoringProtocol
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from tests import tiny

RESULTS = Results(schema=SCHEMA, model="owner/name", protocol=ScoringProtocol(dtype="bfloat16"), benchmarks=Measured())


@pytest.mark.parametrize(
    ("config", "revision"),
    [
        ({"debias": {"model": "owner/name", "revision": "v2", "train": "t", "report": "r"}, "recipe": {}}, "v2"),
        ({"transfer": {"to": "owner/name", "revision": "v2"}}, "v2"),
        ({"combine": {"parts": [], "revision": None}}, None),
        ({"debias": {"model": "owner/name", "train": "t", "report": "r"}, "recipe": {}}, None),  # an older run
        (None, None),
    ],
)
def test_a_stored_run_is_loaded_as_it_was(config, revision, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    spec = spec_of_run(RunFolder(tmp_path), RESULTS, Loading(device="cpu"))
    assert spec == ModelSpec("owner/name", dtype="bfloat16", device="cpu", revision=revision)


def test_the_recipe_sets_the_precision_and_the_batch_size_of_a_debias_run() -> None:
    job = DebiasJob(
        model=ModelSpec("owner/name", revision="v2", device="cpu"), train="t", unrelated=None,
        plan=EvalPlan({"stereoset": "r", "bbq": "b"}, True, EvalOptions(limit_prompts=3)),
        config=DebiasConfig(dtype="bfloat16", batch_tokens=7),
    )  # fmt: skip
    asked = ModelSpec("owner/name", revision="v2", device="cpu", dtype="bfloat16", batch_tokens=7)
    assert job.spec == replace(asked, trains="adapter")
    stored = StoredRequest.model_validate(job.to_dict()["debias"])
    assert (stored.model, stored.revision, stored.report, stored.skip_invalid) == ("owner/name", "v2", "r", True)
    assert stored.benchmarks == {"bbq": "b"} and stored.options["limit_prompts"] == 3
    run = DebiasRun(RunFolder(Path()), stored, job.config, RESULTS)
    assert run.base(device="cpu") == replace(job.spec, trains="")  # it is only read


def test_a_saved_adapter_names_the_revision_of_its_base(tmp_path: Path) -> None:
    loaded = tiny.gpt2()
    loaded = loaded.with_model(with_lora(loaded.model, DebiasConfig(lora_rank=2)))
    for name, revision in (("with", "v2"), ("without", None)):
        folder = save_trained(loaded, RunFolder(tmp_path / name), Manifest(), adapter=True, revision=revision)
        loaded.model.peft_config["default"].revision = None
        assert json.loads((folder / "adapter_config.json").read_text())["revision"] == revision


def test_adapters_of_two_revisions_are_not_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(name: str) -> DebiasRun:
        stored = StoredRequest(model="owner/name", revision=name or None, train="t", report="r")
        return DebiasRun(RunFolder(Path(name)), stored, DebiasConfig(), RESULTS)

    monkeypatch.setattr("biasunlearn.commands.combine.read_adapter_run", read)
    assert len(_on_one_base(["v1", "v1"])) == 2
    with pytest.raises(
        RequestError, match="v2: its base is owner/name at revision v2, that of v1 is owner/name at"
    ):
        _on_one_base(["v1", "v2"])
