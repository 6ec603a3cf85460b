"""Run results -> one self-contained HTML page. No torch, no model: everything is read from the results."""

from collections.abc import Mapping
from typing import Any

Results = Mapping[str, Any]


def report_page(results: Results) -> str:
    return "<!doctype html><title>biasunlearn</title>"
