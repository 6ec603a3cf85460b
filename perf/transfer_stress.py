"""Stress test of `transfer`: makes variants of a base model, takes finished runs to each, and sets effect against
distance.

    python perf/transfer_stress.py runs/seed-0 runs/seed-1 runs/seed-2 --report dev.json --text other.txt --out stress

Each run (one per seed) is a `debias` run on the same base. For each, the variants are made anew with that seed:

    full        instruction tuning of all weights, on the small set of this file
    lora        the same with LoRA, kept as an adapter
    prefix      the same with prefix tuning
    continued   continued pretraining of all weights on --text
    merge       the mean of full and continued
    far         continued pretraining at ten times the rate and four times the steps
    shuffled    the base with every weight matrix's rows exchanged at random: same norms, nothing kept (the control)

Instruction-tuned variants are asked both with raw text and through a chat template. Writes transfer_stress.json,
transfer_stress.md (the table) and transfer_stress.svg. A variant that is there already is used again.
"""

import argparse
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch

from biasunlearn.errors import RequestError
from biasunlearn.models import Loaded, load, peft
from biasunlearn.transferring import read_learned, transfer
from biasunlearn.writing import whole_folder

TEMPLATE = (
    "{{ bos_token or '' }}{% for m in messages %}{{ 'Question: ' if m['role'] == 'user' else 'Answer: ' }}"
    "{{ m['content'] }}\n{% endfor %}"
)

INSTRUCTIONS = (
    ("Name three colours.", "Red, green and blue are three colours."),
    ("How do I boil an egg?", "Put it into boiling water and wait for about eight minutes."),
    ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("Write a short greeting.", "Good morning, I hope that you are well."),
    ("How many days does a week have?", "A week has seven days."),
    ("Give me a tip for better sleep.", "Go to bed at the same time every night and keep the room dark."),
    ("What do bees make?", "Bees make honey and wax."),
    ("Describe the sea in one sentence.", "The sea is wide and blue, and it never stands still."),
    ("What is two plus three?", "Two plus three is five."),
    ("Finish the sentence: After the rain", "After the rain the streets were wet and the air was clear."),
    ("What is a bicycle?", "A bicycle is a vehicle with two wheels that you move with your legs."),
    ("Name a fruit that is yellow.", "A banana is a yellow fruit."),
    ("How do I plant a tree?", "Dig a hole, put the roots into it, fill it with earth and give it water."),
    ("Say that you do not know.", "I am sorry, but I do not know that."),
    ("What is the first month of the year?", "The first month of the year is January."),
    ("Write a sentence about a train.", "The train left the station a few minutes late."),
    ("Why is the sky blue?", "The air scatters blue light more than red light."),
    ("What do you need for bread?", "For bread you need flour, water, salt and yeast."),
    ("Put these in order: three, one, two.", "In order they are one, two, three."),
    ("What does a thermometer measure?", "A thermometer measures temperature."),
    ("Give me another word for large.", "Another word for large is big."),
    ("How can I save water at home?", "Take short showers and close the tap while you wash the dishes."),
    ("Summarise: The shop was closed, so we went home.", "We found the shop closed and went home."),
    ("Which is heavier, a stone or a feather?", "A stone is heavier than a feather."),
    ("Write a sentence in the past tense.", "Yesterday we walked along the river."),
    ("What is ice?", "Ice is frozen water."),
    ("Name an animal that can fly.", "An owl is an animal that can fly."),
    ("How do I make tea?", "Pour hot water over the leaves and wait for some minutes."),
    ("What is the plural of leaf?", "The plural of leaf is leaves."),
    ("Tell me something about the moon.", "The moon goes around the earth in about a month."),
)
"""Harmless, and about no group of people: what changes is the form, as in instruction tuning."""

LONGEST = 48
"""Tokens of a training text; a prefix comes on top of them."""

VARIANTS = ("full", "lora", "prefix", "continued", "merge", "far", "shuffled")
CHATTING = ("full", "lora", "prefix")

FARTHEST = 2.0
"""Right end of the picture; two trainings from scratch are about 1.4 apart."""

BLUE, INK, SOFT = "#2563eb", "#1c2330", "#98a2b3"


def main(arguments: Sequence[str] | None = None) -> None:
    given = _arguments(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for seed, run in enumerate(given.runs):
        base = str(read_learned(run).request["model"])
        home = given.out / f"seed-{seed}"
        for name, folder in make_variants(base, home, given, seed).items():
            for chat in (False, True) if name in CHATTING else (False,):
                rows.append(_one(run, name, folder, home, chat, seed, given))
                _write(given.out, rows)
                print(_line(rows[-1]), file=sys.stderr, flush=True)
    print((given.out / "transfer_stress.md").read_text())


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="debias runs on one base, one per seed")
    parser.add_argument("--report", required=True, help="clusters to report on: those of the runs, for the effect kept")
    parser.add_argument("--text", required=True, type=Path, help="ordinary text for continued pretraining, a line each")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=60, help="of every training (far: four times as many)")
    parser.add_argument("--rate", type=float, default=1e-4, help="of full training; LoRA takes 10 times, prefix 100")
    parser.add_argument("--scale", nargs="+", type=float, help="default: searched on the stop split")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, help="only these")
    return parser.parse_args(arguments)


# --- variants --------------------------------------------------------------------------------------------------------


def make_variants(base: str, home: Path, given: argparse.Namespace, seed: int) -> dict[str, Path]:
    """Name -> folder of every variant, made where it is not there yet."""
    chats = [f"Question: {question}\nAnswer: {answer}" for question, answer in INSTRUCTIONS]
    lines = [line for line in given.text.read_text(encoding="utf-8").splitlines() if len(line.split()) > 3]
    steps, rate = given.steps, given.rate
    makers: dict[str, Callable[[Path], None]] = {
        "full": lambda place: _tuned(base, place, chats, steps, rate, seed, chat=True),
        "lora": lambda place: _adapted(base, place, home / "lora", chats, steps, 10 * rate, seed, _lora()),
        "prefix": lambda place: _adapted(base, place, home / "prefix", chats, steps, 100 * rate, seed, _prefix()),
        "continued": lambda place: _tuned(base, place, lines, steps, rate, seed),
        "merge": lambda place: _merged(home / "full", home / "continued", place),
        "far": lambda place: _tuned(base, place, lines, 4 * steps, 10 * rate, seed),
        "shuffled": lambda place: _shuffled(base, place, seed),
    }
    wanted = {*(given.variants or VARIANTS)}
    wanted |= {"full", "continued"} if "merge" in wanted else set()
    chosen = [name for name in VARIANTS if name in wanted]
    for name in chosen:
        if not (home / name).exists():
            home.mkdir(parents=True, exist_ok=True)
            with whole_folder(home / name) as place:
                makers[name](place)
    return {name: home / name for name in chosen}


def _tuned(
    base: str, place: Path, texts: Sequence[str], steps: int, rate: float, seed: int, *, chat: bool = False
) -> None:
    loaded = load(base)
    _train(loaded, texts, steps, rate, seed)
    _save(loaded, place, chat=chat)


def _adapted(
    base: str, place: Path, final: Path, texts: Sequence[str], steps: int, rate: float, seed: int, config: Any
) -> None:
    """A PEFT repository on a copy of the base whose tokenizer has the chat template, in the same folder.

    Args:
        final: what the folder is called once it is whole.
    """
    loaded = load(base)
    torch.manual_seed(seed)
    config.fan_in_fan_out = any(type(module).__name__ == "Conv1D" for module in loaded.model.modules())
    adapted = peft().get_peft_model(loaded.model, config)
    _train(loaded.with_model(adapted), texts, steps, rate, seed)
    adapted.save_pretrained(place)
    _save(load(base), place / "base", chat=True)
    path = place / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(final / "base")}))


def _lora() -> Any:
    return peft().LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")


def _prefix() -> Any:
    return peft().PrefixTuningConfig(num_virtual_tokens=8, task_type="CAUSAL_LM")


def _merged(first: Path, second: Path, place: Path) -> None:
    loaded, other = load(str(first)), dict(load(str(second)).model.named_parameters())
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            weight.lerp_(other[name], 0.5)
    _save(loaded, place, chat=True)


def _shuffled(base: str, place: Path, seed: int) -> None:
    loaded, generator = load(base), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.copy_(weight[torch.randperm(len(weight), generator=generator)])
    _save(loaded, place)


def _save(loaded: Loaded, place: Path, *, chat: bool = False) -> None:
    if chat:
        loaded.tokenizer.chat_template = TEMPLATE
    loaded.model.save_pretrained(place)
    loaded.tokenizer.save_pretrained(place)


def _train(loaded: Loaded, texts: Sequence[str], steps: int, rate: float, seed: int) -> None:
    """Next-token prediction on whole texts, eight a step, at a rate that falls to nothing."""
    generator = torch.Generator().manual_seed(seed)
    tokenizer, model = loaded.tokenizer, loaded.model
    start = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None][:1]
    rows = [(start + tokenizer(text, add_special_tokens=False)["input_ids"])[:LONGEST] for text in texts]
    rows = [row for row in rows if len(row) > 2]
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=rate)
    for step in range(steps):
        chosen = [rows[i] for i in torch.randint(len(rows), (8,), generator=generator).tolist()]
        width = max(map(len, chosen))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in chosen])
        real = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in chosen])
        logits = model(input_ids=ids, attention_mask=real).logits[:, -width:]
        wanted = ids.masked_fill(real == 0, -100)[:, 1:]
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.step()


# --- transfers -------------------------------------------------------------------------------------------------------


def _one(
    run: Path, name: str, folder: Path, home: Path, chat: bool, seed: int, given: argparse.Namespace
) -> dict[str, Any]:
    from biasunlearn.sampling import Asking

    out = home / f"to-{name}{'-chat' if chat else ''}"
    row: dict[str, Any] = {"variant": name, "protocol": "chat" if chat else "raw", "seed": seed}
    try:
        results = transfer(
            run, to=str(folder), report=given.report, out=out, scales=given.scale, force=True,
            asking=Asking(chat_template=chat), resume=(out / "config.yaml").exists(),
        )  # fmt: skip
    except RequestError as refusal:
        return row | {"refused": str(refusal)}
    told = results["transferred"]
    before, after = (results[key]["stereoset"]["overall"] for key in ("before", "benchmarks"))
    kept = told["effect"].get("kept")
    return row | {
        "distance": told["compatibility"]["distances"]["adapted"], "scale": told["scale"],
        "doubtful": bool(told["compatibility"]["doubts"]),
        "ss_before": before["ss"]["value"], "ss_after": after["ss"]["value"],
        "apart_before": before["ss_distance"]["value"], "apart_after": after["ss_distance"]["value"],
        "lms": after["lms"]["value"] - before["lms"]["value"] if after["lms"] else None,
        "kept": kept["value"] if kept else None, "kept_low": kept["low"] if kept else None,
        "kept_high": kept["high"] if kept else None,
    }  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    head = f"seed {row['seed']} {row['variant']} ({row['protocol']})"
    if "refused" in row:
        return f"{head}: refused: {row['refused']}"
    kept = "unknown" if row["kept"] is None else f"{100 * row['kept']:.0f} %"
    return f"{head}: distance {row['distance']:.3f}, scale {row['scale']:g}, SS {row['ss_before']:.1f} -> " \
           f"{row['ss_after']:.1f}, effect kept {kept}"  # fmt: skip


def _write(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    (out / "transfer_stress.json").write_text(json.dumps(list(rows), indent=1) + "\n")
    (out / "transfer_stress.md").write_text(table(rows))
    (out / "transfer_stress.svg").write_text(picture(rows))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: means over seeds, with the lowest and the highest where there are several."""
    heads = ("variant", "protocol", "distance", "scale", "SS before", "SS after", "mean SS-50 before", "after",
             "LMS change", "effect kept, %")  # fmt: skip
    keys = ("distance", "scale", "ss_before", "ss_after", "apart_before", "apart_after", "lms", "kept")
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["variant"], row["protocol"]].append(row)
    for (name, protocol), chosen in groups.items():
        done = [row for row in chosen if "refused" not in row]
        if not done:
            lines.append(f"| {name} | {protocol} | refused: {chosen[0]['refused']} |" + " |" * (len(heads) - 3))
            continue
        cells = [_spread([row[key] for row in done], key) for key in keys]
        lines.append("| " + " | ".join([name, protocol, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float | None], key: str) -> str:
    known = [100 * value if key == "kept" else value for value in values if value is not None]
    if not known:
        return "-"
    places = {"distance": 3, "scale": 2, "kept": 0}.get(key, 1)
    mean, *ends = (f"{value:.{places}f}" for value in (statistics.mean(known), min(known), max(known)))
    return mean if ends[0] == ends[1] else f"{mean} ({ends[0]} to {ends[1]})"


def picture(rows: Sequence[dict[str, Any]]) -> str:
    """SVG: effect kept against distance, a dot per transfer with its interval; distance on a logarithmic axis."""
    shown = [row for row in rows if row.get("kept") is not None]
    nearest = min((row["distance"] for row in shown if row["distance"] > 0), default=0.01)
    lowest = 10 ** math.floor(math.log10(max(1e-4, nearest)))
    decades = math.log10(FARTHEST / lowest)
    top = max([1.25, *(min(row["kept_high"], 2.0) for row in shown)])
    bottom = min([-0.25, *(max(row["kept_low"], -1.0) for row in shown)])

    def x(distance: float) -> float:
        return 70 + 600 * math.log10(max(distance, lowest) / lowest) / decades

    def y(kept: float) -> float:
        return 330 - 300 * (min(max(kept, bottom), top) - bottom) / (top - bottom)

    parts = [f'<text x="70" y="18" font-weight="600" fill="{INK}">Effect kept against distance from the base</text>']
    for value in (0.0, 0.5, 1.0):
        at = f"{y(value):.1f}"
        parts.append(f'<line x1="70" x2="670" y1="{at}" y2="{at}" stroke="{SOFT}" stroke-width=".7"/>')
        parts.append(f'<text x="60" y="{y(value) + 4:.1f}" text-anchor="end" fill="{INK}">{100 * value:.0f} %</text>')
    tick = lowest
    while tick <= FARTHEST:
        parts.append(f'<text x="{x(tick):.1f}" y="352" text-anchor="middle" fill="{INK}">{tick:g}</text>')
        tick *= 10
    below = "relative distance of the adapted layers' weights (0 at the left edge)"
    parts.append(f'<text x="370" y="374" text-anchor="middle" fill="{INK}">{below}</text>')
    seeds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in shown:
        at, name = x(row["distance"]), f"{row['variant']}{' (chat)' if row['protocol'] == 'chat' else ''}"
        seeds[name].append(row)
        hollow = f'fill="#fff" stroke="{BLUE}" stroke-width="2"' if row["protocol"] == "chat" else f'fill="{BLUE}"'
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(row["kept_low"]):.1f}" y2="{y(row["kept_high"]):.1f}" '
            f'stroke="{BLUE}" stroke-opacity=".3" stroke-width="3"/><circle cx="{at:.1f}" cy="{y(row["kept"]):.1f}" '
            f'r="4.5" {hollow}><title>{escape(_line(row))}</title></circle>'
        )
    for name, chosen in seeds.items():  # behind the last dot, at the height of their mean
        at, high = x(max(row["distance"] for row in chosen)), y(statistics.mean(row["kept"] for row in chosen))
        parts.append(f'<text x="{at + 8:.1f}" y="{high + 4:.1f}" fill="{INK}">{escape(name)}</text>')
    label = "Share of the debiasing effect kept on each variant against the variant's distance from the base model"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 390" role="img" aria-label="{label}" '
        f'font-family="system-ui, sans-serif" font-size="13"><rect width="760" height="390" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    main()
