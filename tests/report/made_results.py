"""One result of every kind that has tables, made without a model."""

from typing import Any

from biasunlearn.report.table import Part
from biasunlearn.report.tables.ablation import ablation_tables
from biasunlearn.report.tables.comparison import comparison_tables, gate_tables
from biasunlearn.report.tables.demo import demo_tables
from biasunlearn.report.tables.disentangle import disentangle_tables, erasure_tables
from biasunlearn.report.tables.objective_study import objective_tables
from biasunlearn.report.tables.probes import probe_tables
from biasunlearn.report.tables.relearning import relearning_tables
from biasunlearn.report.tables.run import run_tables
from biasunlearn.report.tables.survey import survey_tables
from biasunlearn.report.tables.sweep import sweep_tables
from biasunlearn.report.tables.transfer import combination_tables, transfer_tables
from biasunlearn.runs.comparison import GateResult, RunComparison
from biasunlearn.runs.erasure_matrix import ErasureMatrix
from biasunlearn.runs.objective_study import ObjectiveStudy
from biasunlearn.runs.results import Results
from biasunlearn.runs.series import Ablation, Disentanglement, Survey, Sweep

TYPES = ("gender", "profession", "race", "religion", "physical-appearance")


def between(value: float, width: float = 2.5) -> dict[str, float]:
    return {"value": value, "low": value - width, "high": value + width}


def _stereoset(ss: float) -> dict[str, Any]:
    far = {**between(abs(ss - 50), 0.5), "if_fair": 3.25}

    def row(n: int) -> dict[str, Any]:
        return {"n": n, "terms": 9, "few_terms": True, "ties": 2, "ss": between(ss), "lms": between(91.5),
                "icat": between(80.25), "low_lms": False, "ss_distance": far, "ss_distance_terms": far}  # fmt: skip

    part = {"formulation": "f", "n": 2106, "overall": row(2106), "bias_types": {name: row(255) for name in TYPES}}
    contaminated = {"clusters": 3, "of": 2106}
    return {**part, "skipped": 1, "ideal": {"ss": 50, "lms": 100, "icat": 100}, "intersentence": part,
            "contaminated": contaminated}  # fmt: skip


def _panel(value: float, **more: Any) -> dict[str, Any]:
    scores = {"stereotype_share": between(value), "likelihood_diff": between(value / 50, 0.125), "other": None}

    def row(n: int) -> dict[str, Any]:
        return {"n": n, "few_clusters": n < 100, **scores}

    return {"version": 1, "n": 1508, "notes": ["A note of the benchmark."], "overall": row(1508),
            "ideal": {"stereotype_share": 50, "likelihood_diff": 0, "other": None},
            "bias_types": {name: row(99) for name in TYPES}, "groups": {"direction": {"stereo": row(1290)}},
            **more}  # fmt: skip


def _measured(ss: float) -> dict[str, Any]:
    test = {"bias_type": "gender", "n": [8, 8], "effect_size": 0.5, "p": 0.125, "exact": True, "effect_size_last": None,
            "p_last": 0.5, "exact_last": False}  # fmt: skip
    gap = {**between(0.125, 0.0625), "by_chance": 0.0312, "p": 0.25, "highest": "American actors", "lowest": "Nursing"}
    return {
        "stereoset": _stereoset(ss), "crows_pairs": _panel(ss), "seat": _panel(ss, tests={"sent-weat6": test}),
        "bold": _panel(ss, gaps={"toxicity": {"gender": gap}}),
        "perplexity": {"version": 1, "per_token": 20.5 + ss, "per_byte": 1.75, "tokens": 12_345, "bytes": 54_321},
    }  # fmt: skip


def content() -> dict[str, Any]:
    """results.json of a debiased model with every kind of table."""
    tasks = {"arc_easy": {"n": 100, "acc,none": between(0.5, 0.0625), "acc_norm,none": {"value": 0.25}}}
    return {
        "schema": 1, "model": "m", "before": _measured(60.0), "benchmarks": _measured(46.0), "collapsed": True,
        "capability": {"tasks": tasks, "before": tasks, "lm_eval": "0.4.9", "limit": 100},
    }  # fmt: skip


def _transferred() -> dict[str, Any]:
    effect = {"n": 9, "base": between(8), "target": between(4), "kept": between(0.5, 0.25), "most": 0.75}
    scales = [{"scale": scale, "ss": 50.5, "distance": 4.25, "lms": 90.5} for scale in (0.0, 0.5, 1.0)]
    return {"run": "r", "base": "b", "target_kind": "instruct", "scale": 0.5, "scales": scales, "effect": effect,
            "compatibility": {"distances": {"attention": 0.012}}}  # fmt: skip


def relearned() -> dict[str, Any]:
    effect = {"n": 9, "base": between(8), "target": between(4), "kept": between(0.5, 0.25)}
    row = {"n": 255, "ss": between(46.0), "lms": between(90.0), "over_debiased": True}
    points = [
        {"model": model, "step": step, "overall": row, "bias_types": {name: row for name in TYPES}, "perplexity": 21.75,
         "loss": None if step == 0 else 3.125}
        for step in (0, 100) for model in ("debiased", "base")
    ]  # fmt: skip
    kept = [{"step": step, **effect, "distance": effect, "returned": between(1.0), "drift": between(-1.0)}
            for step in (0, 100)]  # fmt: skip
    return {"run": "r", "on": "text.txt", "seeds": [0], "points": points, "kept": kept}


def probed(layers: int = 13) -> dict[str, Any]:
    stage = {key: between(60.5, 4.5) for key in ("accuracy", "control", "shuffled", "selectivity")}
    found = {str(n): {"stages": [stage, stage], "change": {"accuracy": between(-1.5)}} for n in range(layers)}
    table = {one: {other: between(45.0) for other in TYPES} for one in TYPES}
    angles = {"direction": table, "subspace": table, "chance": {"direction": between(88.0), "subspace": between(80.0)}}
    settings = {"C": 4.0, "folds": 5, "draws": 3, "components": 4, "splits": 9, "seed": 0}
    questions = [{"asks": "stereotype", "bias_type": name, "chance": 50.0, "sentences": 510, "layers": found}
                 for name in TYPES]  # fmt: skip
    return {"layers": list(range(layers)), "stages": ["before", "after"], "settings": settings, "questions": questions,
            "left_out": ["religion: too few terms"],
            "angles": {str(layers - 1): {"stages": [angles, angles], "turned": {"gender": 12.5}}}}  # fmt: skip


def _comparison() -> RunComparison:
    row = {"n": 255, "clusters": 9, "few_clusters": True, "a": between(60.0), "b": between(46.0),
           "difference": between(-14.0), "test": "sign flips of clusters", "p": 0.00001, "p_holm": 0.0432,
           "smallest_difference": 9.75, "over_debiased": True, "verdict": "no evidence"}  # fmt: skip
    score = {"unpaired": 2, "ideal": 50, "overall": row, "bias_types": {name: row for name in TYPES}}
    value = {"benchmark": "perplexity", "run": "out/after", "score": "per_token", "a": {"value": 20.0},
             "b": {"value": 20.5}, "change_percent": 2.5, "verdict": None}  # fmt: skip
    line = {**row, "benchmark": "stereoset", "run": "out/after", "score": "ss", "ideal": 50}
    spread = {"values": [49.0, 51.0], "mean": 50.0, "sd": 1.41, "low": 48.0, "high": 52.0}
    parts = {"overall": {"ss": spread}, "bias_types": {"gender": {"ss": spread}}}
    group = {"runs": ["out/before", "out/after"], "seeds": [0, 1], "benchmarks": {"stereoset": parts}}
    first = {"name": "out/before", "stage": "before", "model": "m", "seed": 0}
    return RunComparison.model_validate({
        "runs": [first, {"name": "out/after", "model": "m"}], "overview": [line, value], "seeds": [group],
        "comparisons": [{"run": "out/after", "benchmarks": {"stereoset": {"scores": {"ss": score}}},
                         "not_shared": ["bbq"]}],
    })  # fmt: skip


def _survey() -> Survey:
    def scores(far: float) -> dict[str, Any]:
        seeds = {"seeds": [far - 1, far + 1]}
        types = {f"ss {name}": {**between(50 + far), **seeds} for name in TYPES}
        return {**types, "ss": {**between(50 + far), **seeds}, "distance": {**between(far), **seeds},
                "lms": {**between(90.0), **seeds}, "icat": None,
                "crows_pairs stereotype_share": {**between(55.0), **seeds},
                "perplexity": {"value": 240.25, **seeds}}  # fmt: skip

    cost = {"seconds": 1234.5, "processor_seconds": 1200.0, "memory": 838_000_000}
    methods = {name: {"scores": scores(far), "unchanged": 1, "collapsed": 1, "cost": cost}
               for name, far in (("biasunlearn", 2.25), ("cda", 7.5))}  # fmt: skip
    return Survey.model_validate({
        "model": "m", "methods": methods, "base": scores(9.0), "front": ["biasunlearn"], "refused": {"inlp": "reason"},
        "seeds": [0, 1],
    })  # fmt: skip


def _sweep() -> Sweep:
    params = {"beta": 0.1, "learning_rate": 0.0001, "retain_weight": 0.5, "kl_weight": 0.25, "lora_rank": 8.0}
    front = [{"trial": n, "bias": 1.25 + n, "lms_lost": 4.5 - n, "params": params} for n in range(3)]
    chosen = [{"seed": 0, "ss": between(46.0), "ss_distance": between(4.0), "lms": None, "run": "out/trial-1/seed-0",
               "over_debiased": True}]  # fmt: skip
    return Sweep.model_validate({
        "request": {"model": "m", "seeds": [0], "recipe": params}, "complete": 3, "pruned": 1, "front": front,
        "trials": front, "knee": {"place": 1, "trial": 1, "reason": "farthest below the line"}, "chosen": chosen,
        "importance": {"bias": {"beta": 0.75, "kl_weight": 0.25}, "lms_lost": {"beta": 1.0}},
    })  # fmt: skip


def _ablation() -> Ablation:
    keys = ("ss_before", "ss", "distance", "lms", "last_ss", "last_lms", "steps")
    mean = {key: -1.25 if key.endswith("lms") else 48.5 for key in keys}
    variants = {"full": {"mean": mean}, "without swap": {"mean": {**mean, "last_lms": None}, "collapsed": 2,
                "paper": {"ss": 33.25, "lms": -8.5}, "verdict": "SS 48.5, not past 50"}}  # fmt: skip
    return Ablation.model_validate({"seeds": [0, 1], "variants": variants})


def _disentanglement() -> Disentanglement:
    row: dict[str, Any] = {name: between(55.0) for name in TYPES}
    return Disentanglement.model_validate({
        "seeds": [0], "before": row, "after": {name: {**row, name: between(50.0)} for name in TYPES},
        "trained_on": {name: [name] for name in TYPES},
    })  # fmt: skip


def _erasure() -> ErasureMatrix:
    cells = [
        {"erased": one, "bias_type": other, "change": between(-3.0), "random": between(-1.0), "p": 0.25,
         "p_holm": None if one == other else 0.5}
        for one in TYPES for other in TYPES
    ]  # fmt: skip
    counts = dict.fromkeys(TYPES, 4)
    return ErasureMatrix.model_validate({
        "layer": 3, "ranks": counts, "draws": 10, "seed": 0, "pairs": counts,
        "before": dict.fromkeys(TYPES, between(55.0)), "ss": cells, "moved": cells, "group": cells,
    })  # fmt: skip


def objective_study() -> ObjectiveStudy:
    """A study in which one model does not get fair, and one transfer is left out."""
    row: dict[str, Any] = {
        "ss": between(60.0), **{f"ss {name}": between(55.0) for name in TYPES}, "distance": between(10.0),
        "margin_group": between(0.03), "lms": between(87.0), "perplexity": {"value": 41.5},
    }  # fmt: skip
    run = {"seed": 0, "run": "out/seed-0", "before": row, "after": row, "steps": 40, "tokens": 51200.0,
           "verdict": "IMPROVED", "seconds": 61.0}  # fmt: skip
    angles = {"between": 71.0, "within": 52.0, "chance": 90.0}
    hidden = {
        "layer": 6, "pairs": 40, "before": angles, "after": {**angles, "between": 80.0}, "turned": {TYPES[0]: 21.0},
        "probes": [{"asks": "stereotype", "bias_type": TYPES[0], "chance": 50.0, "before": {"value": 71.0},
                    "after": {"value": 64.0}}],
    }  # fmt: skip
    side = {"model": "<i>m</i>", "before": row, "after": row, "hidden": hidden,
            "relearned": [{"step": 0, "debiased": 52.0, "base": 60.0, "kept": {"value": 1.0}},
                          {"step": 10, "debiased": 58.0, "base": 61.0}]}  # fmt: skip
    return ObjectiveStudy.model_validate({
        "train": "train.jsonl", "report": "dev.json", "seeds": [0], "fair_margin": 5.0, "relearned_on": "stereotypes",
        "sides": {"causal": {**side, "masked": False, "runs": [{**run, "fair_step": 20, "fair_tokens": 25600.0}]},
                  "masked": {**side, "masked": True, "runs": [run]}},
        "transfers": [{"of": "causal", "left_out": "another family"},
                      {"of": "masked", "kept": {"value": 0.25}, "before": 61.0, "after": 58.5}],
        "left_out": ["probes of the masked model: scikit-learn is not installed"],
    })  # fmt: skip


def typed(**more: Any) -> Results:
    return Results.model_validate({**content(), **more})


def parts() -> dict[str, list[Part]]:
    """Kind of result -> what the terminal shows."""
    rules = [{"rule": "stereoset overall ss contains 50", "passed": passed, "found": "46.0 (43.5-48.5)"}
             for passed in (True, False)]  # fmt: skip
    gate = GateResult.model_validate({"run": "r", "policy": "policy.yaml", "passed": False, "rules": rules})
    measured = {key: value for key, value in content().items() if key != "before"}
    combined = {"parts": [{"run": "out/gender", "weight": 1.0}, {"run": "out/race", "weight": 0.5}]}
    direct = {"run": "d", "before": _measured(60.0), "benchmarks": _measured(50.0)}
    return {
        "run": run_tables(typed()),
        "measured": run_tables(Results.model_validate(measured)),
        "transfer": transfer_tables(typed(transferred=_transferred(), direct=direct)),
        "combination": combination_tables(typed(combined=combined)),
        "demo": demo_tables(typed(known_skew={name: 62.5 for name in TYPES})),
        "probes": probe_tables(typed(probes=probed())),
        "relearning": relearning_tables(typed(relearned=relearned())),
        "comparison": comparison_tables(_comparison()),
        "gate": gate_tables(gate),
        "survey": survey_tables(_survey()),
        "sweep": sweep_tables(_sweep()),
        "ablation": ablation_tables(_ablation()),
        "disentangle": disentangle_tables(_disentanglement()),
        "erasure": erasure_tables(_erasure()),
        "study": objective_tables(objective_study()),
    }  # fmt: skip
