"""A policy as a checklist: every rule of `gate` with its answer and the number that decided."""

from biasunlearn.report.first_screen import sign
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.page import Section, section
from biasunlearn.runs.comparison import GateResult

PASSED, FAILED = "✓ holds", "✗ does not hold"


def checklist_section(checked: GateResult) -> Section:
    """The section of a page."""
    base = ["; changes are measured from ", name_of(checked.base, 80)] if checked.base else []
    note = tag("span", "The rules of ", name_of(checked.policy, 200), " against this run", base, ". Rules are checked "
               "against intervals, so that chance does not pass.")  # fmt: skip
    return section("Policy checklist", checklist(checked), note=note)


def checklist(checked: GateResult, *, brief: bool = False) -> Markup:
    """The answer to the whole policy, then a line for each rule, those that do not hold first.

    Args:
        brief: only rules that do not hold.
    """
    failed = sum(not rule.passed for rule in checked.rules)
    whole = f"{failed} of {len(checked.rules)} rules do not hold" if failed else f"All {len(checked.rules)} rules hold"
    rows = [
        tag("li", tag("b", PASSED if rule.passed else FAILED), " ", name_of(rule.rule, 300), " ",
            tag("small", "measured: ", name_of(rule.found, 300)), class_="good" if rule.passed else "bad")  # fmt: skip
        for rule in sorted(checked.rules, key=lambda rule: rule.passed)
        if not (brief and rule.passed)
    ]
    word = tag("strong", "Policy passed" if checked.passed else "Policy not passed")
    answer = tag("p", sign("fair" if checked.passed else "failed"), tag("span", word, f": {whole}."),
                 class_=f"verdict {'good' if checked.passed else 'bad'}")  # fmt: skip
    return tag("div", answer, tag("ul", rows, class_="checklist"))
