"""The result of a gate as JUnit XML, which CI systems show as tests.

There is no formal standard. This is the subset that every reader knows: testsuites > testsuite > testcase, with
`failure` for a rule that does not hold and `error` for one that could not be checked, because its score is missing or
the run cannot be read.
"""

import re
from xml.etree import ElementTree

from biasunlearn.runs.comparison import GateResult, GateRule

FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 does not allow, and those that it advises against."""


def junit_xml(result: GateResult, timestamp: str, seconds: float) -> str:
    """The document of a checked run: a test for each rule.

    Args:
        timestamp: as 2026-11-28T10:00:00.
    """
    cases = [_case(rule) for rule in result.rules]
    return _document(cases, {"run": result.run, "policy": result.policy}, timestamp, seconds)


def unreadable_xml(message: str, timestamp: str, seconds: float) -> str:
    """The document of a run or policy that could not be read: one test, an error."""
    case = ElementTree.Element("testcase", {"classname": "gate", "name": "run and policy can be read"})
    ElementTree.SubElement(case, "error", {"type": "unreadable", "message": _text(message)})
    return _document([case], {}, timestamp, seconds)


def _case(rule: GateRule) -> ElementTree.Element:
    """Names are those of the rules, so that they are the same in the next run; numbers are in the message."""
    where = ".".join(part for part in (rule.benchmark or "gate", rule.score) if part)
    case = ElementTree.Element("testcase", {"classname": _text(where), "name": _text(rule.rule)})
    if rule.passed:
        return case
    allowed = rule.allowed or rule.rule
    kind, tag = ("missing_metric", "error") if rule.missing else ("limit", "failure")
    message = f"{rule.found}; required: {allowed}"
    child = ElementTree.SubElement(case, tag, {"type": kind, "message": _text(message)})
    child.text = _text(f"rule: {rule.rule}\nvalue: {rule.found}\nlimit: {allowed}")
    return case


def _document(
    cases: list[ElementTree.Element], properties: dict[str, str], timestamp: str, seconds: float
) -> str:
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": "0",
        "time": f"{seconds:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "biasunlearn gate", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "gate", **counts, "timestamp": timestamp})
    if properties:
        listed = ElementTree.SubElement(suite, "properties")
        for name, value in properties.items():
            ElementTree.SubElement(listed, "property", {"name": name, "value": _text(value)})
    suite.extend(cases)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True).decode() + "\n"


def _text(value: str) -> str:
    return FORBIDDEN.sub("\ufffd", value)
