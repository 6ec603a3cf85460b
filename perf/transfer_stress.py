"""Stress test of `transfer`: makes variants of a base model, takes finished runs to each, and sets effect against
distance.

    python perf/transfer_stress.py runs/seed-0 runs/seed-1 runs/seed-2 --report dev.json --text other.txt --out stress

The runs are `debias` runs on one base, one per seed. The variants:

    full        instruction tuning of all weights, on the small set of this file
    lora        the same with LoRA, kept as an adapter
    prefix      the same with prefix tuning
    continued   continued pretraining of all weights on --text
    merge       the mean of full and continued
    far         continued pretraining at ten times the rate and four times the steps
    mid         the mean of base and far
    beyond      base and three times what moved far from it: as far as it goes before the language is lost
    shuffled    the base with every weight matrix's rows exchanged at random: same norms, nothing kept (the control)

Variants are judged before anything is put on them, and never by the report file: by the distance of their weights, by
the loss on texts that their training did not read, and by LMS on the stop split. Each then takes the adapter of every
run at scale 1, and with --scale also at the one of these that is best on the stop split. Instruction-tuned variants are
asked with raw text and through a chat template.

Writes transfer_stress.json, transfer_stress.md (the tables) and transfer_stress.svg. What is there already, variants
and measurements, is used again, so a killed test goes on.
"""

import argparse
import json
import math
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from stress_variants import CHATTING, VARIANTS, instructions, loss_on, make_variants, trained_and_held_out

from biasunlearn.benchmarks.stereoset import outcomes, score_triplets
from biasunlearn.commands.run_stages import outcomes_by_score, read_stage
from biasunlearn.commands.transfer import DebiasRun, read_adapter_run, stop_split
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_scale import ScaleScores, check_scales, nearest, scaled
from biasunlearn.models.adapter_target import DEBIASING, debiased, open_target
from biasunlearn.models.compatibility import compatibility
from biasunlearn.models.load import Loaded, load
from biasunlearn.scoring.chat import with_chat_template
from biasunlearn.stats.effect import effect_kept
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item, PairScores, comparisons, stereoset_scores

FARTHEST = 2.0
"""Right end of the picture; two trainings from scratch are about 1.4 apart."""

BLUE, INK, SOFT = "#2563eb", "#1c2330", "#98a2b3"

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    given = _arguments(arguments)
    runs = [read_adapter_run(run) for run in given.runs]
    bases = {str(run.request.model) for run in runs}
    if len(bases) > 1:
        raise SystemExit(f"the runs are on different bases: {', '.join(sorted(bases))}")
    base = bases.pop()
    lines = [line for line in given.text.read_text(encoding="utf-8").splitlines() if len(line.split()) > 3]
    tuning = given.tuning.read_text(encoding="utf-8").splitlines() if given.tuning else instructions()
    parts = {"tuning": trained_and_held_out(tuning), "text": trained_and_held_out(lines)}
    wanted = given.variants or VARIANTS
    folders = make_variants(base, given.out, wanted, parts["tuning"][0], parts["text"][0], given.steps, given.rate)
    done = _Stored(given.out)
    judge(base, folders, runs, {name: held_out for name, (_, held_out) in parts.items()}, given, done)
    clusters = read_triplets(str(given.report)).triplets
    before: dict[tuple[str, bool], list[Item]] = {}
    for how in ("1", "chosen") if given.scale else ("1",):
        for name, chat in [(name, chat) for chat in (False, True) for name in folders if not chat or name in CHATTING]:
            for row in transfers(name, folders[name], chat, how, base, runs, clusters, before, given, done):
                done.add(row)
                print(_line(row), file=sys.stderr, flush=True)
    print((given.out / "transfer_stress.md").read_text())


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="debias runs on one base, one per seed")
    parser.add_argument("--report", required=True, help="clusters to report on: those of the runs, for the effect kept")
    parser.add_argument("--text", required=True, type=Path, help="ordinary text for continued pretraining, a line each")
    parser.add_argument("--tuning", type=Path, help="texts in place of this file's instructions, a line each")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=40, help="of a training (far: four times as many)")
    parser.add_argument("--rate", type=float, default=1e-4, help="of full training; LoRA takes 10 times, prefix 100")
    parser.add_argument("--scale", nargs="+", type=float, default=(), help="also the best of these on the stop split")
    parser.add_argument("--stop-items", type=int, help="of each bias type of the stop split at most, drawn at random")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, help="only these")
    return parser.parse_args(arguments)


class _Stored:
    """The rows so far, on disk after each: a killed test goes on behind the last one."""

    def __init__(self, out: Path):
        self.out, path = out, out / "transfer_stress.json"
        self.rows: list[Row] = json.loads(path.read_text()) if path.exists() else []

    def has(self, **wanted: Any) -> bool:
        return any(wanted.items() <= row.items() for row in self.rows)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        (self.out / "transfer_stress.json").write_text(json.dumps(self.rows, indent=1) + "\n")
        (self.out / "transfer_stress.md").write_text(
            "\n".join(part(self.rows) for part in (judged_table, summary, table))
        )
        (self.out / "transfer_stress.svg").write_text(picture(self.rows))


# --- the variants as they are ----------------------------------------------------------------------------------------


def judge(
    base: str, folders: dict[str, Path], runs: Sequence[DebiasRun], held_out: dict[str, Sequence[str]],
    given: argparse.Namespace, done: _Stored,
) -> None:  # fmt: skip
    """Distance, losses on held-out texts, SS and LMS on the first run's stop split: of the base and every variant."""
    for name, folder in {"base": base, **folders}.items():
        if done.has(judged=name):
            continue
        target = open_target(str(folder))
        found = compatibility(_base(base), target.loaded, runs[0].folder.adapter)
        alone = debiased(target, runs[0].folder.adapter)
        with scaled(alone.model, 0.0, DEBIASING):  # with its own prompt, if it has one
            look = _look(alone, 0.0, _stop(runs[0], given))
            losses = {f"{kind}_loss": loss_on(alone, texts) for kind, texts in held_out.items()}
        row = {"judged": name, "distance": found.distances["adapted"], "layers": dict(found.distances), **losses}
        done.add({**row, "stop_ss": look.ss, "stop_lms": look.lms})
        print(f"{name}: {row['distance']:.3f} from the base", file=sys.stderr, flush=True)


_splits: dict[Path, tuple[Triplet, ...]] = {}


def _stop(run: DebiasRun, given: argparse.Namespace) -> tuple[Triplet, ...]:
    """The run's stop split, or a seeded sample of each of its bias types."""
    if run.folder.path not in _splits:
        found = stop_split(run)
        if given.stop_items:
            by_type: dict[str, list[Triplet]] = defaultdict(list)
            for cluster in found:
                by_type[cluster.bias_type].append(cluster)
            draw = random.Random(0)
            few = [draw.sample(chosen, min(given.stop_items, len(chosen))) for chosen in by_type.values()]
            found = tuple(cluster for chosen in few for cluster in chosen)
        _splits[run.folder.path] = found
    return _splits[run.folder.path]


def _look(loaded: Loaded, scale: float, stop: Sequence[Triplet]) -> ScaleScores:
    with scaled(loaded.model, scale, DEBIASING):
        scores = stereoset_scores(comparisons(score_triplets(loaded, stop))).overall
    lms = scores.lms
    return ScaleScores(scale, scores.ss.value, _apart(scores), lms.value if lms else None)


def _apart(scores: PairScores) -> float:
    """The mean |SS - 50| over bias types, which all of them together have."""
    assert scores.ss_distance is not None
    return scores.ss_distance.value


# --- transfers -------------------------------------------------------------------------------------------------------


def transfers(
    name: str, folder: Path, chat: bool, how: str, base: str, runs: Sequence[DebiasRun], clusters: Sequence[Triplet],
    before: dict[tuple[str, bool], list[Item]], given: argparse.Namespace, done: _Stored,
) -> Iterator[Row]:  # fmt: skip
    """A row for each run, at scale 1 or at the one that the stop split chooses. What is stored is left out.

    Args:
        before: what the variants came to on their own, as far as that is known; added to.
    """
    for seed, run in enumerate(runs):
        row: Row = {"variant": name, "protocol": "chat" if chat else "raw", "seed": seed}
        if done.has(**row, how=how):
            continue
        try:
            loaded, distance = _ready(folder, base, run, chat)
            scale = 1.0 if how == "1" else _chosen(loaded, run, given)
            known = next((other for other in done.rows if {**row, "how": "1"}.items() <= other.items()), None)
            if scale != 1 or known is None:
                if (name, chat) not in before:
                    with scaled(loaded.model, 0.0, DEBIASING):
                        before[name, chat] = score_triplets(loaded, clusters)
                with scaled(loaded.model, scale, DEBIASING):
                    known = _compared(run, before[name, chat], score_triplets(loaded, clusters))
        except RequestError as refusal:
            yield row | {"how": how, "refused": str(refusal)}
        else:
            yield known | row | {"how": how, "scale": scale, "distance": distance}


@cache
def _base(name: str) -> Loaded:
    return load(name)


def _ready(folder: Path, base: str, run: DebiasRun, chat: bool) -> tuple[Loaded, float]:
    """The variant with the run's adapter on, and its distance. RequestError for what cannot work at all."""
    target = open_target(str(folder))
    found = compatibility(_base(base), target.loaded, run.folder.adapter)
    if found.refusals:
        raise RequestError(found.refusals[0])
    loaded = debiased(target, run.folder.adapter)
    return with_chat_template(loaded) if chat else loaded, found.distances["adapted"]


def _chosen(loaded: Loaded, run: DebiasRun, given: argparse.Namespace) -> float:
    scales, stop = check_scales(given.scale), _stop(run, given)
    looks = [_look(loaded, scale, stop) for scale in dict.fromkeys((0.0, *scales))]
    return nearest(looks, run.recipe.lms_floor, scales).scale


def _compared(run: DebiasRun, before: Sequence[Item], after: Sequence[Item]) -> Row:
    entries = [stereoset_scores(comparisons(items)).overall for items in (before, after)]
    kept = effect_kept([*_on_base(run.folder.path), _ss(before), _ss(after)]).kept
    lms = [entry.lms for entry in entries]
    return {
        "ss_before": entries[0].ss.value, "ss_after": entries[1].ss.value,
        "apart_before": _apart(entries[0]), "apart_after": _apart(entries[1]),
        "lms": lms[1].value - lms[0].value if lms[0] and lms[1] else None,
        "kept": kept.value if kept else None, "kept_low": kept.low if kept else None,
        "kept_high": kept.high if kept else None,
    }  # fmt: skip


def _ss(items: Sequence[Item]) -> list[Outcome]:
    return [outcome for outcome in outcomes(items) if outcome.score == "ss"]


@cache
def _on_base(run: Path) -> list[list[Outcome]]:
    stages = [read_stage(f"{run}:{when}") for when in ("before", "after")]
    return [outcomes_by_score(stage, "stereoset").get("ss", []) for stage in stages]


# --- what came of it -------------------------------------------------------------------------------------------------


def _line(row: Row) -> str:
    head = f"{row['variant']} ({row['protocol']}), run {row['seed']}"
    if "refused" in row:
        return f"{head}: refused: {row['refused']}"
    kept = "unknown" if row["kept"] is None else f"{100 * row['kept']:.0f} %"
    return f"{head}: distance {row['distance']:.3f}, scale {row['scale']:g}, SS {row['ss_before']:.1f} -> " \
           f"{row['ss_after']:.1f}, effect kept {kept}"  # fmt: skip


def judged_table(rows: Sequence[Row]) -> str:
    """Markdown: the variants before anything is put on them."""
    heads = ("variant", "distance", "loss on tuning texts", "loss on text", "SS, stop split", "LMS, stop split")
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in (row for row in rows if "judged" in row):
        cells = [row["judged"], f"{row['distance']:.3f}", f"{row['tuning_loss']:.2f}", f"{row['text_loss']:.2f}"]
        cells += ["-" if row[key] is None else f"{row[key]:.1f}" for key in ("stop_ss", "stop_lms")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Markdown, a row for each variant, protocol and run; effect kept with its interval."""
    heads = ("variant", "protocol", "run", "distance", "scale", "SS before", "after", "mean SS-50 before", "after",
             "LMS change", "effect kept, %")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in (row for row in rows if "variant" in row):
        first = [row["variant"], row["protocol"], str(row["seed"])]
        if "refused" in row:
            lines.append(f"| {' | '.join(first)} | refused: {row['refused']} |" + " |" * (len(heads) - 4))
            continue
        scale = f"{row['scale']:g}{' (chosen)' if row['how'] == 'chosen' else ''}"
        numbers = [row[key] for key in ("ss_before", "ss_after", "apart_before", "apart_after")]
        cells = [*first, f"{row['distance']:.3f}", scale, *(f"{number:.1f}" for number in numbers)]
        cells.append("-" if row["lms"] is None else f"{row['lms']:+.1f}")
        lines.append("| " + " | ".join([*cells, _share(row)]) + " |")
    return "\n".join(lines) + "\n"


def summary(rows: Sequence[Row]) -> str:
    """Markdown, a row for each variant and protocol: means over the runs, with the lowest and the highest."""
    heads = ("variant", "protocol", "distance", "SS before", "SS at scale 1", "LMS change", "effect kept, %",
             "scale chosen", "SS", "LMS change", "effect kept, %")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    groups: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in (row for row in rows if "variant" in row and "refused" not in row):
        groups[row["variant"], row["protocol"]][row["how"]].append(row)
    for (name, protocol), found in groups.items():
        one, chosen = found["1"], found["chosen"]
        cells = [_spread(one, "distance", 3), _spread(one, "ss_before", 1)]
        for part, keys in ((one, ("ss_after", "lms", "kept")), (chosen, ("scale", "ss_after", "lms", "kept"))):
            cells += [_spread(part, key, {"kept": 0, "scale": 2}.get(key, 1)) for key in keys]
        lines.append("| " + " | ".join([name, protocol, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _spread(rows: Sequence[Row], key: str, places: int) -> str:
    known = [row[key] * (100 if key == "kept" else 1) for row in rows if row[key] is not None]
    if not known:
        return "-"
    sign = "+" if key == "lms" else ""
    mean, *ends = (f"{value:{sign}.{places}f}" for value in (statistics.mean(known), min(known), max(known)))
    return mean if ends[0] == ends[1] else f"{mean} ({ends[0]} to {ends[1]})"


def _share(row: Row) -> str:
    if row["kept"] is None:
        return "-"
    return f"{100 * row['kept']:.0f} ({100 * row['kept_low']:.0f} to {100 * row['kept_high']:.0f})"


def picture(rows: Sequence[Row]) -> str:
    """SVG: effect kept at scale 1 against distance, a dot per transfer with its interval; a logarithmic axis."""
    shown = [row for row in rows if row.get("kept") is not None and row["how"] == "1"]
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
    seeds: dict[str, list[Row]] = defaultdict(list)
    for row in shown:
        middle, name = x(row["distance"]), f"{row['variant']}{' (chat)' if row['protocol'] == 'chat' else ''}"
        seeds[name].append(row)
        hollow = f'fill="#fff" stroke="{BLUE}" stroke-width="2"' if row["protocol"] == "chat" else f'fill="{BLUE}"'
        parts.append(
            f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y(row["kept_low"]):.1f}" y2="{y(row["kept_high"]):.1f}" '
            f'stroke="{BLUE}" stroke-opacity=".3" stroke-width="3"/>'
            f'<circle cx="{middle:.1f}" cy="{y(row["kept"]):.1f}" r="4.5" {hollow}>'
            f"<title>{escape(_line(row))}</title></circle>"
        )
    taken: list[tuple[float, float]] = []
    for name, chosen in seeds.items():  # behind the last dot, at the height of their mean, and not over another name
        last, high = x(max(row["distance"] for row in chosen)), y(statistics.mean(row["kept"] for row in chosen))
        while any(abs(last - other) < 90 and abs(high - height) < 14 for other, height in taken):
            high += 14
        taken.append((last, high))
        parts.append(f'<text x="{last + 8:.1f}" y="{high + 4:.1f}" fill="{INK}">{escape(name)}</text>')
    label = "Share of the debiasing effect kept on each variant against the variant's distance from the base model"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 390" role="img" aria-label="{label}" '
        f'font-family="system-ui, sans-serif" font-size="13"><rect width="760" height="390" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    main()
