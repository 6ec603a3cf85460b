"""Whether a server answers as the debiased model."""

from biasunlearn.report.formatting import number, p_value
from biasunlearn.report.table import ALWAYS, Column, Line, NumberCell, Part, Row, Table, TextCell
from biasunlearn.runs.served_results import ServedResult


def served_tables(result: ServedResult) -> list[Part]:
    """The numbers that decided, and the verdict."""
    rows = [
        ("texts on which the models differ", str(result.n)),
        ("answers nearer to the debiased model", str(result.nearer)),
        ("control texts", str(result.controls)),
        ("p (one-sided)", p_value(result.p)),
    ]
    more = {
        "slope (1: on, 0: off)": (result.slope, 2),
        "correlation": (result.correlation, 2),
        "same request twice, nats": (result.noise, 4),
        "control texts, nats per token": (result.control_difference, 4),
        "answers of the base model": (result.as_base, 0),
        "control continuations met": (result.controls_met, 0),
        "seeded continuations, log-likelihood ratio, nats": (result.ratio, 1),
    }
    rows += [(name, number(value, digits)) for name, (value, digits) in more.items() if value is not None]
    columns = (Column("measured", "text", ALWAYS), Column("value", priority=ALWAYS))
    cells = tuple(Row((TextCell(name), NumberCell(None, text=text))) for name, text in rows)
    tone = "good" if result.applied else "bad"
    title = f"{result.model} at {result.endpoint} against {result.run}, by {result.how}"
    return [Table(title, columns, cells), Line(f"{result.verdict}: {result.reason}", tone)]  # type: ignore[arg-type]
