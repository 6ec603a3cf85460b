"""The trainers of TRL as an outside check: the same losses on the same batches, and runs like any other."""

from dataclasses import replace
from importlib.util import find_spec

import pytest

from biasunlearn.data.preferences import preference
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.evaluation import StopScores
from biasunlearn.unlearn.methods import METHODS, trl
from biasunlearn.unlearn.methods.task import Task
from biasunlearn.unlearn.sets import training_sets
from tests import tiny
from tests.unlearn.evaluations import score as score_of
from tests.unlearn.test_trainer import CLUSTERS, config

needs_trl = pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed (extra: trl)")
STEPS = 5


def make_task(method, rows, *, scores=(60.0,), end="", **changes):
    """A task on one bias type whose every step has all pairs; steps are added to `rows`.

    Args:
        scores: SS at each evaluation of the stop split.
        end: added to every sentence.
    """
    loaded = tiny.causal("llama")
    name = CLUSTERS[0].bias_type
    sets = training_sets([one for one in CLUSTERS if one.bias_type == name], (), adversarial_share=0.0, seed=0)

    def ended(passage):
        return Passage(passage.prefix, passage.text + end)

    sets = replace(
        sets, forget={name: tuple(map(ended, sets.forget[name]))}, retain={name: tuple(map(ended, sets.retain[name]))},
        pairs={name: tuple((ended(one), ended(other)) for one, other in sets.pairs[name])},
    )  # fmt: skip
    count = len(sets.forget[name])
    chosen = {
        "method": method, "forget_batch": count, "retain_batch": count, "unrelated_batch": 1, "max_steps": STEPS,
        "learning_rate": 1e-3, "schedule": "constant", "warmup": 0, "average": 0.0, "swap": "none", "kl_weight": 0.0,
        "invariance_weight": 0.0, "adversarial_share": 0.0, "forget_weight": 1.0, "retain_weight": 0.0,
        "first_evaluation": 2, "evaluate_every": 2, "beta": 0.1, "lora_rank": 4, "batch_pairs": "matched", **changes,
    }  # fmt: skip
    given = [StopScores({name: score_of(ss, width=5.0)}, 90.0) for ss in scores]
    left = list(given)
    return Task(
        loaded, sets, config(**chosen), Checkpointer(None),
        lambda _model: left.pop(0) if len(left) > 1 else left[0], given[0], on_step=rows.append,
    )  # fmt: skip


@pytest.mark.slow
@needs_trl
def test_trl_dpo_has_the_losses_of_our_dpo_on_the_same_batches():
    ours, theirs, without_end = [], [], []
    end = "</s>"  # TRL adds the end token to every completion
    METHODS["dpo"](make_task("dpo", ours, end=end))
    METHODS["trl:dpo"](make_task("trl:dpo", theirs))
    METHODS["dpo"](make_task("dpo", without_end))
    first, second, third = ([row[key] for row in rows] for rows, key in
                            ((ours, "loss_forget"), (theirs, "loss"), (without_end, "loss_forget")))  # fmt: skip
    assert len(second) == STEPS and second[0] == pytest.approx(0.6931, abs=1e-4)  # log 2 at theta = reference
    assert second[-1] < second[0] - 0.01  # it learns
    assert first == pytest.approx(second, abs=1e-4)
    assert third != pytest.approx(second, abs=1e-4)  # the control: without the end token the batches are not the same


@needs_trl
@pytest.mark.slow
@pytest.mark.by_day("trl:kto")
@pytest.mark.parametrize("method", ["trl:orpo", "trl:kto"])
def test_the_model_has_the_weights_of_the_evaluation_nearest_to_50(method):
    """The base model has 60; steps 2, 4 and 5 are evaluated and have 60, 51 and 58."""
    rows = []
    done = METHODS[method](make_task(method, rows, scores=(60.0, 51.0, 58.0)))
    assert (done.outcome.step, done.outcome.best_step) == (STEPS, 4) and len(rows) == STEPS
    assert hasattr(done.model, "disable_adapter") and set(done.model.peft_config) == {"default"}


def test_without_trl_or_without_an_adapter_the_method_is_refused(monkeypatch):
    with pytest.raises(RequestError, match="trains an adapter"):
        METHODS["trl:dpo"](make_task("trl:dpo", [], lora_rank=0))
    monkeypatch.setitem(trl.MODULES, "dpo", "no_such_module")
    with pytest.raises(RequestError, match=r"needs TRL: pip install 'biasunlearn\[trl\]'"):
        METHODS["trl:dpo"](make_task("trl:dpo", []))


def test_the_prompt_is_what_both_sentences_begin_with():
    same = preference(Passage("The man is", " bad."), Passage("The man is", " good."))
    assert same == {"prompt": "The man is", "chosen": " good.", "rejected": " bad."}
    other = preference(Passage("", "He is bad."), Passage("He", " is good."))
    assert other["prompt"] + other["rejected"] == "He is bad." and other["prompt"] + other["chosen"] == "He is good."
