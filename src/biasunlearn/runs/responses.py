"""Stored replies of models that are asked over a network or in a chat, and verdicts about answers.

Replies are lines of calls.jsonl, by the hash of the request: a killed run asks nothing twice, and a verdict is read
again without a network. No key and no address with a password is ever part of a line.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from biasunlearn.data.strict_json import BadJSON, parse_json
from biasunlearn.runs.atomic import append, whole_file, writing
from biasunlearn.runs.first_process import is_first
from biasunlearn.runs.schema import Count, Number, Record, Text
from biasunlearn.stats.stereoset import Item

CALLS = "calls.jsonl"
RESPONSES = "responses.jsonl"

State = Literal["scored", "refused", "unscored"]

Reason = Literal[
    "unparsed", "truncated", "transport", "policy", "abstained", "no_majority", "too_long", "empty", "judge_not_usable",
    "no_judge",
]
"""Why there is no verdict. truncated: cut at the limit of tokens; too_long: the model cannot read so much;
no_judge: a generated text without a classifier."""


class Reply(Record):
    """What a model replied to one request, or why it did not."""

    text: str = ""
    finish: str = ""
    """stop, length (cut at the limit of tokens), content_filter, or the server's own word."""
    failure: Reason | None = None
    detail: Text = None
    """What the server or the client reported."""
    tokens_in: Count = 0
    tokens_out: Count = 0
    attempts: Count = 1
    seconds: Number = 0.0

    @property
    def problem(self) -> Reason | None:
        """Why this text cannot be used as it is; None where it can."""
        return self.failure or ("truncated" if self.finish == "length" else None)


class Verdict(Record):
    """What one judge, or the panel, concluded about one answer."""

    judge: str
    state: State
    label: Text = None
    score: Number | None = None
    reason: Reason | None = None
    tries: Count = 1
    raw: str = ""
    """The judge's last text."""
    order: Sequence[str] = ()
    """The labels in the order in which the judge read them."""


class ResponseRecord(Record):
    """One answered question with its verdicts: a line of responses.jsonl."""

    benchmark: str
    item: str
    subject: str
    """A hash that names the model under test, with its adapter."""
    turns: Sequence[str]
    answers: Sequence[Reply]
    text: str = ""
    """What was judged."""
    rubric: Text = None
    question: str = ""
    """As the judge read it."""
    references: Mapping[str, str] = {}
    verdict: Verdict
    votes: Sequence[Verdict] = ()
    again: Sequence[Verdict] = ()
    """Second verdicts about the same answer, which measure how far the judges agree with themselves."""


class CallStore:
    """Replies by the hash of their request, appended to a file as they come and never rewritten.

    A failed call is stored as well, as a record of what happened, and is made again by the next run.

    Args:
        folder: the folder of calls.jsonl; None: replies are kept as long as the process runs.
    """

    def __init__(self, folder: Path | None = None):
        self._path = None if folder is None else folder / CALLS
        self._known: dict[str, Reply] = {}
        self.made = 0
        """Calls that the file holds, those of earlier runs included."""
        if self._path is not None and self._path.exists():
            for line in self._path.read_text(encoding="utf-8", errors="replace").split("\n"):
                self._read(line)

    def get(self, key: str) -> Reply | None:
        """The reply to a request; None where there is none yet."""
        return self._known.get(key)

    def add(self, key: str, request: Mapping[str, object], reply: Reply) -> None:
        """Stores a reply with its request."""
        self.made += 1
        if reply.failure not in ("transport",):
            self._known[key] = reply
        if self._path is None or not is_first():
            return
        if not self._path.parent.is_dir():
            with writing(self._path.parent):
                self._path.parent.mkdir(parents=True, exist_ok=True)
        row = {"key": key, "request": request, "reply": reply.to_dict()}
        append(self._path, json.dumps(row, ensure_ascii=False) + "\n", sync=False)

    def _read(self, line: str) -> None:
        """Takes one line; one that was cut off by an interruption is asked again."""
        try:
            row = parse_json(line)
            key, reply = row["key"], Reply.model_validate(row["reply"])
        except (BadJSON, KeyError, TypeError, ValidationError):
            return
        self.made += 1
        if isinstance(key, str) and reply.failure not in ("transport",):
            self._known[key] = reply


def read_responses(folder: Path) -> list[ResponseRecord]:
    """The answered questions that a folder has stored; none where it has no such file.

    A line that an interruption cut off is left out.
    """
    path = folder / RESPONSES
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            found.append(ResponseRecord.model_validate(parse_json(line)))
        except (BadJSON, ValidationError):
            continue
    return found


def keep_responses(
    cache: Path | None, folder: Path, stages: Mapping[str, Sequence[Item]]
) -> list[ResponseRecord]:
    """Copies the answered questions of a run from the folder of stored texts to the run's own responses.jsonl.

    Args:
        cache: a folder that other runs may use as well.
        stages: {stage: items}, which tell the answers of this run.
    Returns:
        One record of each answer; equal answers to a question have one.
    """
    wanted = {(item.benchmark, item.item_id, item.text) for items in stages.values() for item in items if item.text}
    found = {} if cache is None else {
        key: one for one in read_responses(cache) if (key := (one.benchmark, one.item, one.text)) in wanted
    }  # fmt: skip
    if found:
        with whole_file(folder / RESPONSES) as temporary:
            temporary.write_text("".join(map(_line, found.values())), encoding="utf-8")
    return list(found.values())


def store_responses(folder: Path | None, records: Sequence[ResponseRecord]) -> None:
    """Appends answered questions to responses.jsonl. Of two lines about the same question the last one counts."""
    if folder is None or not is_first():
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    append(folder / RESPONSES, "".join(map(_line, records)))


def _line(record: ResponseRecord) -> str:
    return json.dumps(record.to_dict(), ensure_ascii=False) + "\n"
