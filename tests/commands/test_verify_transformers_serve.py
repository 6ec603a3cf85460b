"""`verify` against `transformers serve`, a real server: the debiased model is accepted, the base is caught."""

import pytest

from biasunlearn.commands.merge import merge
from biasunlearn.commands.verify import verify
from biasunlearn.models.spec import ModelSpec
from tests.commands.test_verify import make_run
from tests.scoring.test_transformers_serve import needs_serving, served_by_transformers


@pytest.mark.slow
@needs_serving
def test_transformers_serve_with_the_base_passed_off_as_debiased(tmp_path):
    make_run(tmp_path)
    (tmp_path / "merged").mkdir()
    merge(ModelSpec(str(tmp_path / "model")), tmp_path / "run/adapter", tmp_path / "merged")
    with served_by_transformers() as url:
        right = verify(tmp_path / "run", endpoint=url, model=str(tmp_path / "merged"))
        wrong = verify(tmp_path / "run", endpoint=url, model=str(tmp_path / "model"))
    assert (right.how, right.verdict, wrong.verdict) == ("continuations", "applied", "not applied"), (right, wrong)
    assert right.controls_met == right.controls > 0
