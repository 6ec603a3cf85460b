"""A table as HTML: what it is sorted by, what is escaped, and which row stands on top."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.report.charts.axis import Axis, Scale
from biasunlearn.report.formatting import clean
from biasunlearn.report.html_table import html_table
from biasunlearn.report.table import (
    MISSING,
    Column,
    NumberCell,
    Row,
    StripCell,
    Table,
    TextCell,
    count_cell,
    name_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.runs.scores import Interval, Metric, estimate_of

EVIL = "<b onclick=x>\u202eevil"


class Cells(HTMLParser):
    """Rows of (attributes, text) of every cell."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[tuple[dict[str, str | None], str]]] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            attributes, text = self.rows[-1][-1]
            self.rows[-1][-1] = attributes, text + data


def interval(value: float) -> Interval:
    return Interval(value=value, low=value - 1, high=value + 1)


def test_cells_show_text_and_sort_by_values() -> None:
    columns = tuple(Column(label) for label in "abcdefg")
    row = [count_cell(12_345), NumberCell(0.00001, text="<0.0001"), MISSING, score_cell(interval(60.0)),
           score_cell(interval(60.0), before=interval(70.0)), score_cell(Metric(value=0.5), 3),
           score_cell(interval(0.5), signed=True)]  # fmt: skip
    _, cells = Cells(html_table(Table("t", columns, rows_of([row])))).rows
    assert [text for _, text in cells] == ["12,345", "<0.0001", "–", "60.0 59.0–61.0", "70.0 → 60.0 59.0–61.0", "0.500",
                                           "+0.5 −0.5 to 1.5"]  # fmt: skip
    assert [float(attributes["data-value"] or "") for attributes, _ in cells] == [12345, 1e-5, -1e9, 60, 60, 0.5, 0.5]
    assert [attributes["data-label"] for attributes, _ in cells] == list("abcdefg")


def test_the_total_stands_on_top_and_the_first_cell_names_the_row() -> None:
    made = Table("t", (Column("type", "text"), Column("n")), rows_of([[name_cell("age"), count_cell(1)]]),
                 Row((TextCell("overall"), count_cell(2))))  # fmt: skip
    page = html_table(made)
    _, total, row = Cells(page).rows
    assert [text for _, text in total] == ["overall", "2"] and row[0][0]["scope"] == "row"
    assert page.index('class="total"') < page.index("age") and "lanes" not in page


def test_names_of_others_stay_text_in_cells_headings_and_titles() -> None:
    columns = (Column(EVIL, "text", is_name=True), Column(EVIL))
    made = Table(EVIL, columns, rows_of([[name_cell(EVIL), TextCell(EVIL, key="A", small=EVIL)]]))
    page = html_table(made)
    parsed = Cells(page)
    assert "onclick" not in " ".join(parsed.tags) and "b" not in parsed.tags and "\u202e" not in page
    assert page.count("&lt;b onclick=x&gt;evil") >= 5 and "bdi" in parsed.tags


def test_a_picture_makes_lanes_with_the_scale_in_its_heading() -> None:
    scale = Scale(Axis(40, 60), 50.0, 2.0)
    columns = (Column("type", "text"), Column("SS", "picture", scale=scale, sides=("left", "right")))
    strip = StripCell(estimate_of(55.0), estimate_of(45.0))
    page = html_table(Table("t", columns, rows_of([[TextCell("age"), strip]])))
    assert 'class="sortable lanes"' in page and page.count("<svg") == 2 and page.count("<circle") == 2
    assert "left" in page and "right" in page and page.count("<button") == 1  # a picture cannot be sorted by


@given(st.text(st.characters(max_codepoint=0x2100)))
def test_plain_texts_are_cleaned_as_all_others(text: str) -> None:
    """With a letter that is not ASCII before it, a text is looked through; without, it may be passed on as it is."""
    assert clean(text) == clean(f"é{text}")[1:]
    assert clean("a\x00b\x7f\u202ec") == "a\ufffdb\ufffdc" and clean("a\tb") == "a\tb"
