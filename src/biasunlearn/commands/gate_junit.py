"""`gate --junit FILE`: writes what the gate decided, or why it could not decide, as JUnit XML."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from biasunlearn.errors import RequestError
from biasunlearn.report.junit import junit_xml, unreadable_xml
from biasunlearn.runs.atomic import whole_file
from biasunlearn.runs.comparison import GateResult


@contextlib.contextmanager
def writing_junit(path: str | Path | None) -> Iterator[Callable[[GateResult], None]]:
    """Gives a function that writes a result to the file; None: nothing is written.

    A RequestError inside the block (a run or policy that cannot be read) is written as an error, and raised again: a
    pipeline that only reads the file would otherwise see no test fail.
    """
    began, now = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")

    def write(content: Callable[[str, float], str]) -> None:
        if path is None:
            return
        if not Path(path).absolute().parent.is_dir():
            raise RequestError(f"--junit {path}: no such folder")
        with whole_file(Path(path)) as temporary:
            temporary.write_text(content(now, time.monotonic() - began), encoding="utf-8")

    try:
        yield lambda result: write(lambda when, seconds: junit_xml(result, when, seconds))
    except RequestError as error:
        message = str(error)
        write(lambda when, seconds: unreadable_xml(message, when, seconds))
        raise
