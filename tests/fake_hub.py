"""A hub on loopback that knows just enough to be pushed to: it makes repositories and takes commits."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    def __init__(self) -> None:
        self.visibility: dict[str, str] = {}
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refuses = False


@contextlib.contextmanager
def fake_hub() -> Iterator[tuple[str, Hub]]:
    """Its address and what it was given."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, content, status=200):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            hub.asked.append(f"GET {self.path}")
            if self.path.startswith("/api/models/"):
                name = "/".join(self.path.split("/")[3:5])
                private = hub.visibility.get(name) == "private"
                return self.answer({"id": name, "sha": "0" * 40, "siblings": [], "private": private})
            return self.answer({"error": "not here"}, 404)

        def do_POST(self):
            hub.asked.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if hub.refuses:
                return self.answer({"error": "Invalid username or password."}, 401)
            if self.path == "/api/repos/create":
                given = json.loads(body)
                name = f"{given['organization']}/{given['name']}"
                known, url = name in hub.visibility, f"http://{self.headers['Host']}/{name}"
                hub.visibility.setdefault(name, given.get("visibility", "public"))
                return self.answer({"url": url, "name": name}, 409 if known else 200)
            if "/preupload/" in self.path:
                files = json.loads(body)["files"]
                how = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                return self.answer({"files": [{"path": f["path"], **how} for f in files]})
            if "/commit/" in self.path:
                for line in body.splitlines():
                    row = json.loads(line)
                    if row["key"] == "file":
                        hub.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
                url = f"http://{self.headers['Host']}/o/n/commit/{'1' * 40}"
                return self.answer({"commitUrl": url, "commitOid": "1" * 40, "success": True})
            return self.answer({})

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hub
    finally:
        server.shutdown()
        server.server_close()
