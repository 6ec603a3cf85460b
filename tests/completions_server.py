"""A completion server in this process: models by name, as vLLM (log-probabilities of a prompt) or without them."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch


class Served:
    """A model as a server runs it: greedy and drawn continuations, and log-probabilities of a prompt."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer

    def logits(self, ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return self.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)

    def complete(self, request: Mapping[str, Any], log_probs: bool) -> dict[str, Any]:
        given = request["prompt"]
        ids = given if isinstance(given, list) else self.tokenizer(given)["input_ids"]
        generator = torch.Generator().manual_seed(request.get("seed") or 0)
        written = list(ids)
        for _ in range(request["max_tokens"]):
            last = self.logits(written)[-1]
            drawn = request.get("temperature", 0) > 0
            token = torch.multinomial(last.exp(), 1, generator=generator) if drawn else last.argmax()
            if int(token) == self.tokenizer.eos_token_id:
                break
            written.append(int(token))
        text = self.tokenizer.decode(written[len(ids) :], skip_special_tokens=True)
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": "length", "logprobs": None}
        if log_probs and request.get("echo"):
            found = self.logits(written)[:-1].gather(1, torch.tensor(written[1:])[:, None])[:, 0].tolist()
            choice["logprobs"] = {"token_logprobs": [None, *found], "tokens": [str(one) for one in written]}
        if log_probs and request.get("prompt_logprobs"):
            found = self.logits(ids)[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
            pairs = zip(ids[1:], found, strict=True)
            choice["prompt_logprobs"] = [None, *({str(one): {"logprob": value}} for one, value in pairs)]
        return {"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]}


@contextlib.contextmanager
def completions(
    models: Mapping[str, Served], *, log_probs: bool = True, ids: bool = True,
    change: Callable[[dict[str, Any]], Any] = lambda reply: reply,
) -> Iterator[str]:  # fmt: skip
    """The address of the server, until the end of the block.

    Args:
        log_probs: whether it gives log-probabilities of a prompt; otherwise it ignores that it is asked for them.
        ids: whether a prompt may be token ids.
        change: what becomes of a reply.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def send(self, content: Any, status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:  # noqa: N802
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if request["model"] not in models:
                self.send({"error": {"message": f"no model {request['model']}"}}, 404)
            elif isinstance(request["prompt"], list) and not ids:
                self.send({"error": {"message": "prompt must be a string."}}, 400)
            else:
                self.send(change(models[request["model"]].complete(request, log_probs)))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
