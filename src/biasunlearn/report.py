"""Run results -> one self-contained HTML page. No torch, no model: everything is read from the results.

Every name, path and message is data that somebody else wrote, and is escaped.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Results = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --line: #d5dae3; --paper: #fff; --panel: #f6f7fa;
  --before: #c2410c; --after: #0f766e; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #363d4a; --paper: #14181f;
  --panel: #1c212b; --before: #fb923c; --after: #2dd4bf; --warn: #fbbf24; } }
* { box-sizing: border-box } body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem } .soft { color: var(--soft) } .warn { color: var(--warn) }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } tr.all td { font-weight: 600 } small { color: var(--soft) }
svg { width: 100%; height: auto; display: block } svg text { font: 13px system-ui, sans-serif; fill: var(--ink) }
svg .soft { fill: var(--soft) }
pre { background: var(--panel); padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; font-size: .85rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0 }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
.before { stroke: var(--before); fill: var(--before) } .after { stroke: var(--after); fill: var(--after) }
"""


def report_page(results: Results, metrics: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page of one run: the picture first, then the table, how training went, and what was measured with what.

    Args:
        results: the content of results.json.
        metrics: the rows of metrics.jsonl, where the run trained.
    """
    before, after = results.get("before"), results["benchmarks"]
    name = escape(str(results.get("model") or results.get("scores") or "stored scores"))
    body = [f"<h1>{name}</h1>", f'<p class="soft">{_subtitle(results)}</p>']
    if "stereoset" in after:
        entry, first = after["stereoset"], (before or {}).get("stereoset")
        body += ["<h2>Stereotype score by bias type</h2>", ss_picture(entry, first), _legend(first is not None)]
        body += ["<h2>StereoSet</h2>", _table(entry, first), *_warnings(entry)]
        if "intersentence" in entry:
            other = first and first.get("intersentence")
            formulation = escape(entry["intersentence"]["formulation"])
            body += ["<h2>StereoSet, intersentence</h2>", f'<p class="soft">{formulation}</p>']
            body += [_table(entry["intersentence"], other)]
    if "perplexity" in after:
        body += ["<h2>Perplexity</h2>", _perplexity(after["perplexity"], (before or {}).get("perplexity"))]
    checks = [row for row in metrics if "ss" in row]
    if len(checks) > 1:
        body += ["<h2>The stop split during training</h2>", course_picture(checks)]
    body += ["<h2>How this was made</h2>", _provenance(results)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{name} - social bias</title>'
        f"<style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def ss_picture(after: Results, before: Results | None) -> str:
    """SS on an axis with 50 in the middle: a bar for the 95 % interval, a dot for the value, before above after."""
    rows = [*after["bias_types"].items(), ("overall", after["overall"])]
    estimates = [entry["ss"] for _, entry in rows]
    if before:
        estimates += [entry["ss"] for entry in (*before["bias_types"].values(), before["overall"])]
    reach = max(10.0, *(abs(e[end] - 50) for e in estimates for end in ("low", "high"))) + 2
    height, left, right = 46 * len(rows) + 46, 150, 740

    def x(value: float) -> float:
        return left + (right - left) * (value - 50 + reach) / (2 * reach)

    parts = [f'<line x1="{x(50):.1f}" x2="{x(50):.1f}" y1="8" y2="{height - 30}" stroke="var(--ink)"/>']
    for tick in range(0, 101, 5):
        if abs(tick - 50) <= reach:
            at = f"{x(tick):.1f}"
            parts.append(f'<text class="soft" text-anchor="middle" x="{at}" y="{height - 10}">{tick}</text>')
            parts.append(f'<line x1="{at}" x2="{at}" y1="8" y2="{height - 30}" stroke="var(--line)"/>')
    for number, (name, entry) in enumerate(rows):
        y = 30 + 46 * number
        first = None if not before else before["overall"] if name == "overall" else before["bias_types"].get(name)
        parts.append(f'<text x="0" y="{y + 5}">{escape(_short(name))}</text>')
        if first:
            parts.append(_whisker(first["ss"], x, y - 8, "before", f"{name} before"))
        parts.append(_whisker(entry["ss"], x, y + 8 if first else y, "after" if before else "before", name))
    label = "Stereotype score per bias type with 95 % intervals; 50 is ideal. The numbers are in the table below."
    return f'<svg viewBox="0 0 760 {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _whisker(estimate: Mapping[str, float], x: Any, y: float, kind: str, name: str) -> str:
    low, value, high = (x(estimate[key]) for key in ("low", "value", "high"))
    title = f"{escape(name)}: {estimate['value']:.1f} ({estimate['low']:.1f} to {estimate['high']:.1f})"
    return (
        f'<g class="{kind}"><title>{title}</title><line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" '
        f'stroke-width="3" stroke-opacity=".45" stroke-linecap="round"/><circle cx="{value:.1f}" cy="{y}" r="5.5"/></g>'
    )


def course_picture(checks: Sequence[Mapping[str, Any]]) -> str:
    """SS of each bias type at every look at the stop split."""
    last = max(1, checks[-1]["step"])
    values = [value for row in checks for value in row["ss"].values()]
    low, high = min(44.0, *values), max(56.0, *values)
    left, right, top, bottom = 40, 620, 10, 220

    def point(step: float, value: float) -> str:
        return f"{left + (right - left) * step / last:.1f},{bottom - (bottom - top) * (value - low) / (high - low):.1f}"

    y50 = point(0, 50).split(",")[1]
    parts = [
        f'<line x1="{left}" x2="{right}" y1="{y50}" y2="{y50}" stroke="var(--ink)"/>',
        f'<text x="8" y="{y50}" dominant-baseline="middle">50</text>',
    ]
    for place, name in enumerate(checks[0]["ss"]):
        hue = round(360 * place / len(checks[0]["ss"])) + 200
        line = " ".join(point(row["step"], row["ss"][name]) for row in checks)
        colour = f"hsl({hue % 360} 60% 50%)"
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<rect x="635" y="{12 + 22 * place}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="653" y="{23 + 22 * place}">{escape(_short(name))}</text>')
    parts.append(f'<text class="soft" x="{left}" y="245">step 0</text>')
    parts.append(f'<text class="soft" text-anchor="end" x="{right}" y="245">step {last}</text>')
    height = max(250, 22 * len(checks[0]["ss"]) + 20)
    label = "Stereotype score per bias type on the stop split, from the first to the last step"
    return f'<svg viewBox="0 0 760 {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _table(after: Results, before: Results | None) -> str:
    whens = ("before", "after") if before else ("",)
    heads = "".join(f"<th>{score} {when}</th>" for score in ("SS", "LMS", "ICAT") for when in whens)
    rows = []
    for name, entry in (*after["bias_types"].items(), ("overall", after["overall"])):
        first = None if not before else before["overall"] if name == "overall" else before["bias_types"].get(name)
        cells = ""
        for score in ("ss", "lms", "icat"):
            cells += _cell(first and first[score]) if before else ""
            cells += _cell(entry[score])
        kind = ' class="all"' if name == "overall" else ""
        rows.append(f"<tr{kind}><td>{escape(name)}</td><td>{entry['n']}</td><td>{entry['terms']}</td>{cells}</tr>")
    head = f"<tr><th>bias type</th><th>items</th><th>terms</th>{heads}</tr>"
    return f'<div class="scroll" tabindex="0"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cell(estimate: Mapping[str, float] | None) -> str:
    if not estimate:
        return "<td>-</td>"
    return f"<td>{estimate['value']:.1f} <small>{estimate['low']:.1f}-{estimate['high']:.1f}</small></td>"


def _legend(both: bool) -> str:
    if not both:
        return '<p class="soft">Dot: score. Bar: 95 % interval. 50 is ideal.</p>'
    return (
        '<p class="soft"><b style="color:var(--before)">before</b> above, '
        '<b style="color:var(--after)">after</b> below. '
        "Dot: score. Bar: 95 % interval. 50 is ideal.</p>"
    )


def _warnings(entry: Results) -> list[str]:
    notes = [f"{entry['overall']['ties']} ties, counted as anti-stereotype as in the official scorer"]
    if entry["overall"].get("low_lms"):
        notes.append("LMS is low: meaningful and unrelated sentences are hardly told apart; SS is no sign of fairness.")
    if entry.get("contaminated"):
        seen = entry["contaminated"]
        notes.append(f"Contaminated: the adapter has seen {seen['clusters']} of {seen['of']} clusters.")
    if few := [name for name, row in entry["bias_types"].items() if row["few_terms"]]:
        notes.append(f"Fewer than 10 target terms in {', '.join(few)}: the wider interval of terms and items is shown.")
    if entry.get("skipped"):
        notes.append(f"{entry['skipped']} invalid rows were skipped.")
    return [f'<p class="soft">{escape(note)}</p>' for note in notes]


def _perplexity(after: Results, before: Results | None) -> str:
    size = f"{after['tokens']:,} tokens"
    if before is None:
        return f"<p>{after['per_token']:.2f} per token, {after['per_byte']:.3f} per byte ({size})</p>"
    first, last = before["per_token"], after["per_token"]
    return f"<p>{first:.2f} &rarr; {last:.2f} per token ({100 * (last / first - 1):+.2f} %, {size})</p>"


def _subtitle(results: Results) -> str:
    stopped = results.get("stopped")
    if not stopped:
        return "Social bias as measured"
    kept = f"; the adapter of step {stopped['best_step']} was kept" if stopped["best_step"] != stopped["step"] else ""
    how = f"Stopped at step {stopped['step']}: {stopped['reason']}{kept}."
    method = results.get("method", "biasunlearn")
    by = "unlearning" if method == "biasunlearn" else method
    return escape(f"Social bias before and after {by}. {how}")


def _provenance(results: Results) -> str:
    facts: dict[str, Any] = {}
    environment = results.get("environment", {})
    data = results.get("data", {})
    for name in ("train", "report", "unrelated"):
        if data.get(name, {}).get("path"):
            facts[name] = f"{data[name]['path']} (sha256 {str(data[name]['sha256'])[:16]})"
    for name, entry in results["benchmarks"].items():
        digest = f" (sha256 {entry['sha256'][:16]})" if entry.get("sha256") else ""
        facts[f"benchmark {name}"] = f"{entry.get('data')}{digest}"
    facts["versions"] = ", ".join(f"{k} {v}" for k, v in environment.get("versions", {}).items() if v)
    facts["machine"] = f"Python {environment.get('python')}, {environment.get('platform')}"
    listed = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in facts.items())
    findings = "".join(f'<p class="warn">{escape(line)}</p>' for line in data.get("findings", ()))
    recipe = ""
    if results.get("config"):
        content = escape(json.dumps(results["config"], indent=1))
        recipe = f"<details><summary>Recipe</summary><pre>{content}</pre></details>"
    return f"<pre>{escape(environment.get('command', ''))}</pre><dl>{listed}</dl>{findings}{recipe}"


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"
