"""One run as a page: the picture first, then how training went, where bias is left, and what it was made with.

No torch, no model: everything is read from results, items and metrics. What cannot be found in them is left out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from biasunlearn.report.benchmark_cards import cards
from biasunlearn.report.charts.axis import around
from biasunlearn.report.charts.curves import Marks, lms_panel, loss_panels, score_panels
from biasunlearn.report.charts.marks import Field, strip
from biasunlearn.report.forest import forest
from biasunlearn.report.html import Markup, name_of, short, tag
from biasunlearn.report.html_table import Cell, Head, estimate, interval, number, table, with_small
from biasunlearn.report.page import facts, folded, page, section, warning
from biasunlearn.report.probes import probe_sections
from biasunlearn.report.relearning import lasting
from biasunlearn.stats import remaining_bias
from biasunlearn.stats.stereoset import Item, fair_distance, over_debiased

Results = Mapping[str, Any]

SHOWN_ITEMS = 20
SHOWN_TERMS = 300
SENTENCE = 400
"""Characters of a sentence that are shown."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a report is made of: a run as it was written down."""

    name: str
    results: Results
    stages: Mapping[str, Sequence[Item]] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    sentences: Mapping[str, str] = field(default_factory=dict)
    """Sentence id -> text, where the data file is still there unchanged."""

    @property
    def after(self) -> Results:
        return dict(self.results["benchmarks"])

    @property
    def before(self) -> Results:
        return dict(self.results.get("before") or {})

    @property
    def model(self) -> str:
        return str(self.results.get("model") or self.results.get("scores") or "stored scores")

    @property
    def margin(self) -> float:
        """How near to 50 counts as reached."""
        return float((self.results.get("config") or {}).get("margin") or 2.0)


def report_page(run: Shown) -> str:
    """The page of one run."""
    return page(run.model, header(run), run_sections(run))


def header(run: Shown) -> Markup:
    """Which model, what came of it in one sentence, and the four figures."""
    trained = bool(run.before)
    method = str(run.results.get("method") or "biasunlearn")
    by = "unlearning" if method == "biasunlearn" else short(method, 40)
    measured = "Social bias, as measured" if run.after else "Hidden states, probed"
    eyebrow = f"Social bias, before and after {by}" if trained else measured
    return tag(
        "header", tag("p", eyebrow, class_="eyebrow"), tag("h1", name_of(run.model)),
        tag("p", lede(run), class_="lede"), tiles(run),
    )  # fmt: skip


def run_sections(run: Shown) -> list[Markup]:
    """Everything about one run, in the order in which it is read."""
    return [
        *lasting(run.results),
        *_headline(run),
        *probe_sections(run.results.get("probes")),
        *_training(run),
        *_terms(run),
        *_items(run),
        *forest(run.after, run.before, run.results.get("capability")),
        _provenance(run),
    ]


def lede(run: Shown) -> str:
    """The result in words: how many bias types contain 50, and what it cost."""
    entry = run.after.get("stereoset")
    if run.results.get("probes") and not run.after:
        return "What linear classifiers read from the hidden states, and how far the bias types lie apart in them."
    if not entry:
        return "Not measured on StereoSet; what was measured stands below."
    types = entry["bias_types"].values()
    fair = sum(row["ss"]["low"] <= 50 <= row["ss"]["high"] for row in types)
    now = entry["overall"]["ss"]["value"]
    held = f"The 95\u00a0% interval contains 50 in {fair} of {len(types)} bias types."
    if not run.before.get("stereoset"):
        return f"The stereotype is the likelier sentence in {now:.1f}\u00a0% of the pairs; 50 is even. {held}"
    was = run.before["stereoset"]["overall"]["ss"]["value"]
    told = f"The stereotype was the likelier sentence in {was:.1f}\u00a0% of the pairs, and is in {now:.1f}\u00a0%."
    return f"{told} {held}"


def tiles(run: Shown) -> Markup:
    """SS, LMS, ICAT and perplexity, with what they were."""
    after, before = run.after.get("stereoset"), run.before.get("stereoset")
    made = []
    for key, title in (("ss", "SS, ideal 50"), ("lms", "LMS, ideal 100"), ("icat", "ICAT, ideal 100")):
        now = after and after["overall"].get(key)
        if now:
            was = before and before["overall"].get(key)
            made.append(_tile(title, now["value"], was and was["value"], f"95 %: {interval(now)}", 1))
    text, earlier = run.after.get("perplexity"), run.before.get("perplexity")
    if text:
        now = text["per_token"]
        change = f"{number(100 * (now / earlier['per_token'] - 1), 2, signed=True)} %" if earlier else "per token"
        made.append(_tile("Perplexity, lower is better", now, earlier and earlier["per_token"], change, 2))
    return tag("dl", made, class_="tiles") if made else Markup("")


def _tile(title: str, now: float, was: float | None, below: str, places: int) -> Markup:
    earlier = None if was is None else [tag("span", f"{number(was, places)} → ", class_="was")]
    value = tag("span", earlier, number(now, places), class_="big")
    return tag("div", tag("dt", title), tag("dd", value, tag("small", below)))


# --- the picture -----------------------------------------------------------------------------------------------------


def _headline(run: Shown) -> list[Markup]:
    entry, first = run.after.get("stereoset"), run.before.get("stereoset")
    if not entry:
        return []
    note = "How often the stereotype is the likelier of two sentences. The bar is the 95 % interval."
    if run.results.get("relearned"):
        note += " Before: the debiased model. After: the same when it has learned on."
    elif first:
        note = (
            "How often the stereotype is the likelier of two sentences, on target terms that training never saw. "
            "The bar is the 95 % interval, the shaded band is what counts as reached."
        )
    parts = [score_table(entry, first, run.margin, "Stereotype score by bias type"), _key(bool(first))]
    found = [section("Stereotype score by bias type", parts, [warning(line) for line in _warnings(entry)], note=note)]
    inter = entry.get("intersentence")
    if inter and inter.get("bias_types"):
        beside = score_table(inter, first and first.get("intersentence"), run.margin, "Intersentence scores")
        asked = short(inter.get("formulation", ""), 200)
        explained = tag("p", f"{asked}. No official likelihood score exists.", class_="note")
        found.append(folded("The same for pairs of whole sentences (intersentence)", explained, beside))
    return found


def score_table(entry: Results, first: Results | None, margin: float, caption: str) -> Markup:
    """SS as a picture with its numbers, LMS and ICAT beside it; a row per bias type, all of them together on top."""
    rows = {name: (row, ((first or {}).get("bias_types") or {}).get(name)) for name, row in entry["bias_types"].items()}
    total = (entry["overall"], (first or {}).get("overall"))
    shown = [one["ss"] for pair in (*rows.values(), total) for one in pair if one]
    lane = Field(around(50.0, [one[end] for one in shown for end in ("low", "high")], 10.0), 50.0, margin)
    sides = tag("span", tag("span", "← anti-stereotype likelier"), tag("span", "stereotype likelier →"), class_="sides")
    heads = [Head("bias type", kind="word"), Head(sides, sorts=False, kind="picture", below=lane.scale())]
    heads += [Head("SS before"), Head("SS after")] if first else [Head("SS")]
    heads += [Head("LMS"), Head("ICAT"), Head("pairs")]
    caption = f"{caption}: SS with 95 % interval, LMS, ICAT and number of pairs"
    cells = [_score_row(lane, name_of(name, 40), *pair, bool(first)) for name, pair in rows.items()]
    return table(caption, heads, cells, first=_score_row(lane, "all together", *total, bool(first)), kind="lanes")


def _score_row(lane: Field, name: Any, after: Results, before: Results | None, both: bool) -> list[Cell]:
    earlier = before and before["ss"]
    scores = [estimate(earlier), estimate(after["ss"])] if both else [estimate(after["ss"])]
    kept = [_change(after.get(score), (before or {}).get(score)) for score in ("lms", "icat")]
    return [Cell(name), Cell(strip(lane, after["ss"], earlier)), *scores, *kept, Cell(f"{after['n']:,}", after["n"])]


def _change(now: Mapping[str, float] | None, was: Mapping[str, float] | None) -> Cell:
    """A value with how it changed in small print."""
    if not now or not was:
        return estimate(now and {"value": now["value"]})
    return Cell(with_small(number(now["value"]), number(now["value"] - was["value"], 1, signed=True)), now["value"])


def _key(both: bool) -> Markup | None:
    if not both:
        return None
    before = tag("svg", tag("line", x1=3, x2=31, y1=7, y2=7, class_="interval before", stroke_width=7),
                 tag("circle", cx=17, cy=7, r=4.5, class_="before"), class_="strip", aria_hidden="true")  # fmt: skip
    after = tag("svg", tag("line", x1=3, x2=31, y1=7, y2=7, class_="interval after"),
                tag("circle", cx=17, cy=7, r=5.5, class_="after"), class_="strip", aria_hidden="true")  # fmt: skip
    return tag("ul", tag("li", before, "before"), tag("li", after, "after"), tag("li", "small print at LMS and ICAT: "
               "change since before"), class_="key")  # fmt: skip


def _warnings(entry: Results) -> list[str]:
    notes = []
    overall = entry["overall"]
    if overall.get("low_lms"):
        notes.append("LMS is low: meaningful and unrelated sentences are hardly told apart; SS is no sign of fairness.")
    if seen := entry.get("contaminated"):
        notes.append(f"Contaminated: the adapter has seen {seen['clusters']} of {seen['of']} clusters.")
    over = [short(name, 40) for name in over_debiased(entry)]
    over += [f"intersentence {short(name, 40)}" for name in over_debiased(entry.get("intersentence") or {})]
    if over:
        notes.append(f"Over-debiased, the whole interval lies below 50: {', '.join(over)}.")
    if few := [short(name, 40) for name, row in entry["bias_types"].items() if row.get("few_terms")]:
        notes.append(f"Fewer than 10 target terms in {', '.join(few)}: the wider interval of terms and items is shown.")
    if overall.get("ties"):
        notes.append(f"{overall['ties']} ties, counted as anti-stereotype as in the official scorer.")
    if entry.get("skipped"):
        notes.append(f"{entry['skipped']} invalid rows were skipped.")
    return notes


# --- training --------------------------------------------------------------------------------------------------------


def _training(run: Shown) -> list[Markup]:
    checks = [row for row in run.metrics if row.get("ss")]
    losses = [row for row in run.metrics if "loss_forget" in row]
    stopped = run.results.get("stopped") or {}
    marks = Marks(stopped.get("best_step"), stopped.get("step"), _swaps(checks))
    beta = (run.results.get("config") or {}).get("beta")
    parts: list[Any] = []
    if len(checks) > 1:
        parts += [tag("h3", "Stereotype score on the stop split"), _grid(score_panels(checks, run.margin, marks))]
    if len(losses) > 1:
        panels = [*loss_panels(losses, beta, marks), *lms_panel(checks, marks)]
        parts += [tag("h3", "Losses, without weights, and LMS on the stop split"), _grid(panels)]
    if not parts:
        return []
    ended = f"Stopped at step {stopped['step']}: {short(stopped['reason'], 300)}. " if stopped else ""
    kept = f"The adapter of step {stopped['best_step']} was kept (dashed line). " if stopped else ""
    swapped = "A triangle marks a step at which a bias type's forget and retain sets were exchanged. "
    level = "The level line in the forget loss is where it begins, (2 / β) log 2." if beta and len(losses) > 1 else ""
    return [section("How training went", parts, note=ended + kept + swapped + level)]


def _swaps(checks: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in checks:
        for name in (row.get("decision") or {}).get("swapped", ()):
            found.setdefault(name, []).append(row["step"])
    return found


def _grid(panels: Sequence[Markup]) -> Markup:
    return tag("div", panels, class_="panels")


# --- where bias is left ----------------------------------------------------------------------------------------------


def _two(run: Shown) -> tuple[Sequence[Item], Sequence[Item]]:
    """Items of the last stage and of the one before it; none where there is only one stage."""
    last = list(run.stages)[-1] if run.stages else ""
    return run.stages.get(last, ()), run.stages.get("before", ()) if last != "before" else ()


def _terms(run: Shown) -> list[Markup]:
    found = remaining_bias.terms(*_two(run))
    if not found:
        return []
    both = found[0].before is not None
    lane = Field(around(50.0, [], 48.0), 50.0)
    heads = [Head("target term", kind="word"), Head("bias type", kind="word"), Head("pairs")]
    heads += [Head("SS", sorts=False, kind="picture", below=lane.scale())]
    heads += [Head("before"), Head("after")] if both else [Head("SS")]
    rows = [_term_row(lane, term, both) for term in found[:SHOWN_TERMS]]
    note = (
        "Sorted by what is left beyond luck: |SS − 50| less what a fair model would show on as many pairs "
        f"(5 pairs: {fair_distance(5):.1f} points)."
    )
    if len(found) > SHOWN_TERMS:
        note += f" The first {SHOWN_TERMS} of {len(found)} are shown."
    listed = table("Target terms by remaining bias", [*heads, Head("beyond luck")], rows, kind="lanes close", tall=True)
    return [section("Target terms", listed, note=note)]


def _term_row(lane: Field, term: remaining_bias.Term, both: bool) -> list[Cell]:
    before = None if term.before is None else {"value": term.before}
    values = [estimate(before), estimate({"value": term.after})] if both else [estimate({"value": term.after})]
    picture = strip(lane, {"value": term.after}, before)
    return [
        Cell(name_of(term.target, 60)), Cell(name_of(term.bias_type, 40)), Cell(term.pairs), Cell(picture), *values,
        Cell(number(term.beyond_luck, 1, signed=True), round(term.beyond_luck, 4)),
    ]  # fmt: skip


def _items(run: Shown) -> list[Markup]:
    found = remaining_bias.pairs(*_two(run))
    if not found:
        return []
    lists = {
        "pairs that changed most": remaining_bias.most_changed(found, SHOWN_ITEMS),
        "pairs that still lean most to the stereotype": remaining_bias.still_worst(found, SHOWN_ITEMS),
    }
    parts = [
        folded(f"Show {len(listed)} {what}", tag("ol", [_pair(one, run) for one in listed], class_="pairs"),
               kind="notice")  # fmt: skip
        for what, listed in lists.items()
        if listed
    ]
    note = "Content notice: these lists quote stereotypes, some of them hurtful. The lean is the stereotype's mean \
log-probability a token less the anti-stereotype's: above 0 the stereotype is likelier."
    if not run.sentences:
        note += " The data file is not where it was, or has changed: only the ids of the sentences can be shown."
    return [section("Single pairs", parts, note=note)]


def _pair(pair: remaining_bias.Pair, run: Shown) -> Markup:
    moved = number(pair.after, 3, signed=True)
    if pair.before is not None:
        moved = f"{number(pair.before, 3, signed=True)} → {moved}"
    said = [
        tag("p", tag("span", role, class_="role"), tag("bdi", short(run.sentences.get(one, one), SENTENCE)))
        for role, one in (("stereotype", pair.stereotype_id), ("anti-stereotype", pair.anti_stereotype_id))
    ]
    about = tag("p", name_of(pair.bias_type, 40), ", ", name_of(pair.target, 60), f": lean {moved}", class_="lean")
    return tag("li", said, about)


# --- what it was made with -------------------------------------------------------------------------------------------


def _provenance(run: Shown) -> Markup:
    results, data = run.results, run.results.get("data") or {}
    environment = results.get("environment") or {}
    rows: dict[str, Any] = {"model": name_of(run.model, 200), "run": name_of(run.name, 200)}
    rows |= {"adapter": name_of(results["adapter"], 200)} if results.get("adapter") else {}
    for name in ("train", "unrelated", "report"):
        if (data.get(name) or {}).get("path"):
            rows[f"{name} data"] = _file(data[name]["path"], data[name].get("sha256"))
    for name, part in (data.get("splits") or {}).items():
        if isinstance(part, Mapping) and part.get("sha256"):
            rows[f"{short(name, 40)} split"] = [f"{part.get('pairs', '')} pairs ", _hash(part["sha256"])]
    if probed := (run.results.get("probes") or {}).get("data"):
        rows["pairs probed"] = _file(probed["data"], probed.get("sha256"))
    for name, entry in run.after.items():
        if isinstance(entry, Mapping) and entry.get("data"):
            rows[f"benchmark {short(name, 40)}"] = _file(entry["data"], entry.get("sha256"))
    seed = (results.get("config") or {}).get("seed")
    rows |= {"seed": seed} if seed is not None else {}
    rows |= {"training": said} if (said := _cost(results.get("cost") or {})) else {}
    versions = ", ".join(f"{key} {value}" for key, value in (environment.get("versions") or {}).items() if value)
    rows["versions"] = short(versions, 1000)
    rows["machine"] = short(f"Python {environment.get('python')}, {environment.get('platform')}", 300)
    found = [tag("li", short(line, 600)) for line in data.get("findings") or ()]
    findings = [tag("h3", "Found in the data before training"), tag("ul", found, class_="findings")] if found else []
    recipe = json.dumps(results["config"], indent=1, ensure_ascii=False) if results.get("config") else None
    folds = [folded("Recipe: every setting of this run", tag("pre", short(recipe, 20_000)))] if recipe else []
    command = tag("pre", short(environment.get("command") or "", 4000)) if environment.get("command") else None
    return section("How this was made", command, facts(rows), findings, folds, _defects(run.after))


def _cost(cost: Results) -> str:
    """How long it took, and the most memory. By hand: 838 million bytes are 799 MiB."""
    if not cost:
        return ""
    said = f"{cost['seconds']:.0f} s ({cost['processor_seconds']:.0f} s of processor time), at most \
{cost['memory'] / 2**20:.0f} MiB"
    return f"{said}, since it was resumed" if cost["resumed"] else said


def _defects(entries: Results) -> list[Markup]:
    """What the benchmarks used do not tell, and what is wrong with them."""
    known = {name: cards()[name] for name in entries if name in cards()}
    if not known:
        return []
    listed = [
        folded(f"{name}: question, what is not measured, known limitations", facts(dict(card)))
        for name, card in known.items()
    ]
    return [tag("h3", "Known defects of the benchmarks used"), *listed]


def _file(path: Any, digest: Any) -> list[Any]:
    return [name_of(path, 300), " ", _hash(digest) if digest else None]


def _hash(digest: Any) -> Markup:
    return tag("span", f"sha256 {str(digest)[:16]}", class_="hash", title=str(digest)[:64])
