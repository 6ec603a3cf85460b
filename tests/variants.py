"""A finished run on a tiny model, and variants of that model, all made in a folder: what transfers are tested with."""

import json
from pathlib import Path
from typing import Any

from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model

from biasunlearn.cli import main
from tests import tiny

TARGETS = ("baker", "pilot", "nurse", "judge", "clerk", "guard", "coach", "miner")
FILLERS = (("slow", "quick"), ("rude", "kind"), ("dull", "sharp"), ("weak", "strong"))
TEMPLATE = "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] | trim }}\n{% endfor %}"


def write_pairs(path: Path, bias_types: tuple[str, ...] = ("age", "work")) -> str:
    rows = [
        {
            "bias_type": bias_type, "target": target, "context": f"The {bias_type} {target} is BLANK.",
            "stereotype": f"The {bias_type} {target} is {bad}.",
            "anti_stereotype": f"The {bias_type} {target} is {good}.",
            "unrelated": f"The {bias_type} {target} is of {bad}.",
        }
        for bias_type in bias_types for target in TARGETS for bad, good in FILLERS
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


ONE_OTHER = ("--replacements", "1")
"""Each pair is also scored about one other group, not about four: most of what a short run scores."""


def debias(place: Path, name: str, model: str, *more: str) -> str:
    """A short run: it moves the model, and nobody asks where to."""
    short = (
        "seed=4 max_steps=4 swap_noise=0 "  # with this seed an evaluation is better than the base model
        "first_evaluation=2 evaluate_every=2 forget_batch=4 retain_batch=4 unrelated_batch=2 average=0"
    ).split()
    settings = [part for value in (*short, "learning_rate=0.02") for part in ("--set", value)]
    arguments = ["debias", model, "--train", str(place / "train.jsonl"), "--report", str(place / "report.jsonl")]
    assert main([*arguments, "--out", str(place / name), *ONE_OTHER, *settings, *more]) == 0
    return str(place / name)


def make(place: Path) -> Path:
    """model/, train.jsonl, report.jsonl, run/; other models: tuned, lora, prefix, prompt, far, other, smaller."""
    tiny.save(tiny.gpt2(), place / "model")
    write_pairs(place / "train.jsonl")
    write_pairs(place / "report.jsonl", ("old", "new"))
    debias(place, "run", str(place / "model"))
    stopped = json.loads((place / "run/results.json").read_text())["stopped"]
    assert stopped["best_step"] > 0, "the adapter must do something"
    tuned = tiny.gpt2()
    tiny.perturb(tuned.model, spread=0.01)
    tuned.tokenizer.chat_template = TEMPLATE
    tiny.save(tuned, place / "tuned")
    tiny.save(tiny.gpt2(seed=9), place / "far")
    tiny.save(tiny.causal("llama"), place / "other")
    tiny.save(tiny.gpt2(n_embd=16), place / "smaller")
    own = {
        "lora": LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", fan_in_fan_out=True),
        "prefix": PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
        "prompt": PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    }
    for name, config in own.items():
        adapted = get_peft_model(tiny.gpt2().model, config)
        adapted.base_model.name_or_path = str(place / "model")
        adapted.peft_config["default"].base_model_name_or_path = str(place / "model")
        tiny.perturb(adapted, spread=0.1)
        adapted.save_pretrained(place / name)
    return place


def transfer(place: Path, to: str, out: Path, *more: str, run: str = "run") -> dict[str, Any]:
    """Takes a run to another model in the folder; the results."""
    arguments = ["transfer", str(place / run), "--to", str(place / to), "--report", str(place / "report.jsonl")]
    assert main([*arguments, "--out", str(out), *ONE_OTHER, *more]) == 0
    return json.loads((out / "results.json").read_text())
