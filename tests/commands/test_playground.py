"""The playground's server: who may ask it, and for what. The page itself is tested in test_playground_browser.py."""

import http.client
import importlib.util
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from biasunlearn.commands.playground import compared, playground
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.runs.folder import SCHEMA, RunFolder
from biasunlearn.scoring.side_by_side import LONGEST, open_run
from tests import tiny

pytestmark = [  # Gradio takes seconds to import: only where one of these tests runs
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="Gradio is not installed"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("playground")
    tiny.save(tiny.gpt2(), folder / "model")
    adapted = with_lora(tiny.gpt2().model, DebiasConfig())
    tiny.perturb(adapted)
    adapted.save_pretrained(folder / "run/adapter")
    results = {"schema": SCHEMA, "model": str(folder / "model"), "benchmarks": {}}
    RunFolder(folder / "run").write_json("results.json", results)
    (folder / "secret.txt").write_text("a secret")
    return folder / "run"


@pytest.fixture(scope="module")
def page(run: Path) -> Iterator[Any]:
    opened = playground(run, port=0, wait=False)
    yield opened
    opened.close()


def port_of(page: Any) -> int:
    return int(page.local_url.rstrip("/").rpartition(":")[2])


def ask(page: Any, path: str, *, host: str | None = None, method: str = "GET", body: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=120)
    connection.putrequest(method, path, skip_host=True)
    if host != "":
        connection.putheader("Host", host or f"127.0.0.1:{port_of(page)}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace")


def test_it_listens_on_this_machine_only(page: Any) -> None:
    addresses = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    listening = [line.split()[1].split(":")[0] for line in addresses[1:]
                 if line.split()[1].endswith(f":{port_of(page):04X}") and line.split()[3] == "0A"]  # fmt: skip
    assert listening == ["0100007F"]  # 127.0.0.1
    assert not page.share_url


def test_the_page_is_there_with_its_policy(page: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=120)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200 and "connect-src 'self'" in answer.headers["content-security-policy"]


def test_the_report_of_the_run_is_served_as_a_page_that_cannot_use_the_playground(page: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=120)
    connection.request("GET", "/report")
    answer = connection.getresponse()
    assert answer.status == 200 and "social bias report" in answer.read().decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox ") and "allow-same-origin" not in policy
    assert ask(page, "/report", host="evil.example")[0] == 400


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example:80", "0.0.0.0:1", ""])
def test_another_hosts_name_is_refused(host: str, page: Any) -> None:
    """A page of somebody else whose name resolves to this machine (DNS rebinding)."""
    assert ask(page, "/", host=host)[0] == 400
    assert ask(page, "/config", host=host)[0] == 400


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:1"])
def test_its_own_names_are_not_refused(host: str, page: Any) -> None:
    assert ask(page, "/", host=host)[0] == 200


@pytest.mark.parametrize("route", ["/gradio_api/file={}", "/file={}", "/gradio_api/file/{}", "//gradio_api/file={}",
                                   "/gradio_api/%66ile={}", "/gradio_api/proxy=http://127.0.0.1/{}",
                                   "/static/../../../../../../..{}", "/assets/..%2f..%2f..%2f..{}"])  # fmt: skip
def test_no_route_gives_a_file(route: str, page: Any, run: Path) -> None:
    for name in (run.parent / "secret.txt", run / "results.json", Path("/etc/passwd")):
        status, text = ask(page, route.format(name))
        assert status >= 400 and "a secret" not in text and "root:" not in text and "schema" not in text


def test_nothing_can_be_uploaded(page: Any) -> None:
    assert ask(page, "/gradio_api/upload", method="POST", body="x")[0] == 404


def test_a_long_prompt_is_refused_on_the_page(run: Path) -> None:
    loaded, adapter = open_run(run)
    assert f"{LONGEST} are read at most" in compared(loaded, adapter, "x" * (LONGEST + 1), "gender")[0]
    assert "<table" in compared(loaded, adapter, "The nurse", "gender")[0]  # the control


def test_a_prompt_is_escaped(run: Path) -> None:
    loaded, adapter = open_run(run)
    first, *_ = compared(loaded, adapter, "<img src=x onerror=alert(1)> said", "gender")
    assert "<img" not in first and "&lt;img" in first


def test_requests_at_the_same_time_do_not_disturb_each_other(page: Any, run: Path) -> None:
    """Each of them switches the adapter off and on, in the one model that there is."""
    prompts = ["The nurse said", "A doctor came", "My neighbour is", "It rains"]
    loaded, adapter = open_run(run)
    expected = {prompt: compared(loaded, adapter, prompt, "gender")[0] for prompt in prompts}
    asked = next(one.fn for one in page.fns.values() if len(one.inputs) == 3)
    with ThreadPoolExecutor(len(prompts)) as pool:
        found = dict(zip(prompts, pool.map(lambda prompt: asked(prompt, "gender", "")[0], prompts), strict=True))
    assert found == expected


def test_a_taken_port_is_one_line(page: Any, run: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(RequestError, match="port"):
            playground(run, port=held.getsockname()[1], wait=False)
