"""An OpenAI-compatible server in a process of its own, whose answers are right and whose faults are chosen.

`python tests/judged_server.py FAULTS [DELAY]` prints its port. As the model under test it answers with the first name
in quotation marks; as a judge of `matching` it gives the label of the gold set, or of the name that the answer is.
GET /counts: how often each request was made.

FAULTS: a text of words, as "limit cut malformed slow policy truncated nonsense broken"; each request gets one of them
or none, by its hash. Faults that pass (limit, cut) occur at the first attempt only.
"""

import functools
import hashlib
import json
import re
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHARE = 100 // 4
"""Of 100 requests, so many have a fault, in equal parts."""
PASSING = ("limit", "cut")
counts: Counter[str] = Counter()
lock = threading.Lock()


def fault_of(body: bytes, faults: list[str]) -> str:
    number = int(hashlib.sha256(body).hexdigest(), 16) % 100
    return faults[number * len(faults) // SHARE] if faults and number < SHARE else ""


@functools.cache
def truth() -> dict[tuple[str, str], str]:
    """(question, answer) of the gold set -> what it is labelled as. Imported when a judge is first asked."""
    from biasunlearn.scoring.gold import gold_answers
    from biasunlearn.scoring.rubrics import MATCHING

    return {
        (one.question, one.answer): one.references.get(label, MATCHING.labels[label])
        for one, label in gold_answers("matching")
    }


def reply(messages: list[dict[str, str]]) -> str:
    text = messages[-1]["content"]
    if "Answer to be judged:" not in text:
        return (re.findall(r'"([^"]+)"', text) or ["I do not know."])[0]
    tag = re.search(r"<(text-\w+)>", text)[1]  # type: ignore[index]
    question, answer = re.findall(rf"<{tag}>\n(.*?)\n</{tag}>", text, re.S)[:2]
    wanted = truth().get((question, answer), f"The answer is: {answer}")
    for line in text.splitlines():
        if re.fullmatch(rf"[A-H]\. {re.escape(wanted)}", line):
            return f"VERDICT: {line[0]}"
    return "VERDICT: ?"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: list[str] = []
    delay = 0.0

    def log_message(self, *_: Any) -> None:
        pass

    def send(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:  # noqa: N802
        if self.path == "/counts":
            with lock:
                self.send(dict(counts))
        else:
            self.send({"object": "list", "data": [{"id": "oracle", "object": "model", "created": 0, "owned_by": "us"}]})

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = hashlib.sha256(body).hexdigest()
        with lock:
            counts[key] += 1
            first = counts[key] == 1
        time.sleep(self.delay)
        fault = fault_of(body, self.faults)
        request = json.loads(body)
        if self.headers.get("Authorization") == "Bearer wrong":
            self.send({"error": {"message": "no such key"}}, 401)
        elif fault == "limit" and first:
            self.send({"error": {"message": "slow down"}}, 429, retry_after_ms="5")
        elif fault == "cut" and first:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"id": "x", "choi')
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
        elif fault == "malformed":
            self.send(b'{"id": "x", "choices": [{"mess')
        elif fault == "slow":
            time.sleep(8)
            self.close_connection = True
        elif fault == "policy":
            self.send({"error": {"message": "blocked", "code": "content_filter"}}, 400)
        elif fault == "broken":
            self.send({"error": {"message": "out of memory"}}, 500, retry_after_ms="5")
        else:
            text = "Well, it depends." if fault == "nonsense" else reply(request["messages"])
            self.send(completion(text, "length" if fault == "truncated" else "stop"))


def completion(text: str, finish: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "x", "object": "chat.completion", "created": 0, "model": "oracle",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }  # fmt: skip


if __name__ == "__main__":
    Handler.faults = sys.argv[1].split()
    Handler.delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
