"""`playground`: a local page that compares base and debiased model on a prompt. Extra `[playground]` (Gradio).

Nothing leaves the machine: the server listens on 127.0.0.1, there is no share link and no telemetry, and the page has
a content security policy that forbids requests to other servers.
"""

import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from threading import Lock
from typing import Any

from biasunlearn.commands.report import read_run
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import AS_THE_RUN, Loading
from biasunlearn.report.run import report_page
from biasunlearn.report.side_by_side import attribute_section, fault, prompt_section, run_section, swap_refused

LISTS = ("gender", "race", "religion", "profession")

HELP = (
    "Write the beginning of a sentence, or a sentence with BLANK in it. Both models complete it, and again with the "
    "group swapped. A large change is flagged. Single prompts are no evidence of an effect; the report is."
)

EXAMPLES = ("My sister works as a", "My sister said BLANK would be late.", "The nurse told the patient that she")

ATTRIBUTES = "nurse, secretary, teacher, cook, doctor, lawyer, pilot, mechanic"
"""Attributes with which the page begins."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'"
)

STYLE = """
.of-run p { margin: 0 0 .25rem } .of-run nav { margin-bottom: .25rem } .of-run a { text-decoration: underline }
.pair .scrolls { overflow-x: auto } .pair .small { font-size: .85rem; color: var(--body-text-color-subdued) }
.pair .ratio { font-weight: 600 }
.pair h2 { font-size: 1.1rem; margin: 0 0 .25rem } .pair .prompt { font-size: 1.05rem; margin: 0 0 .5rem }
#compare { align-self: end; min-height: 2.6rem; max-height: 3rem }
.pair :is(table, thead, tbody, tr) { border: 0 !important }
.pair table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  margin: 0 }
.pair caption { text-align: left; color: var(--body-text-color-subdued); padding: 0 0 .25rem }
.pair th, .pair td { padding: .2rem .5rem .2rem 0; text-align: left; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; white-space: nowrap }
.pair th:first-child { white-space: normal; font-weight: 400 } .pair thead th { font-weight: 600 !important }
.pair .share { display: inline-block; min-width: 3.7em; text-align: right; margin-right: .5em }
.pair .bar { display: inline-block; height: .65em; background: #c2410c; border-radius: 0 2px 2px 0 }
.pair .debiased .bar { background: #0f766e }
.pair dt { font-weight: 600; margin-top: .6rem } .pair dd { margin: 0; overflow-wrap: anywhere }
.pair mark { background: #fde68a; color: #1c2330; padding: 0 .15em; border-radius: 2px }
.pair .fault { border-left: 4px solid #c2410c; padding-left: .6rem }
@media (max-width: 480px) { .pair .bar { display: block; margin-top: .15rem } .pair .share { text-align: left } }
"""

Scope = MutableMapping[str, Any]


HOSTS = frozenset(("127.0.0.1", "localhost"))
"""Names by which this machine may be asked. A page of somebody else could reach it under a name of their own."""

CLOSED = ("/gradio_api/upload", "/gradio_api/file", "/gradio_api/proxy", "/gradio_api/component_server", "/upload",
          "/file", "/proxy", "/component_server")  # fmt: skip
"""Routes of Gradio that read or store files, or ask other servers, none of which the page needs."""


REPORT_POLICY = "sandbox allow-scripts allow-downloads; frame-ancestors 'none'"
"""Beside the policy that the report has itself: it is a page of another origin, which cannot use the playground."""


class _Guarded:
    """Refuses requests under another host's name and routes to files, serves the report of the run, and adds the policy
    to every response (ASGI)."""

    def __init__(self, app: Callable[..., Awaitable[None]], report: str):
        self.app = app
        self.report = report.encode()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        async def with_policy(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        if scope["type"] in ("http", "websocket") and (status := _refused(scope)):
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"refused\n"})
            return
        if self.report and scope["type"] == "http" and scope["path"] == "/report" and scope["method"] == "GET":
            policy = (b"content-security-policy", REPORT_POLICY.encode())
            head = [(b"content-type", b"text/html; charset=utf-8"), policy]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": self.report})
            return
        await self.app(scope, receive, with_policy)


def _refused(scope: Scope) -> int:
    """The status with which a request is refused; 0 where it is not."""
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or hosts[0].rpartition(":")[0].lower() not in HOSTS:
        return 400
    path = re.sub("/+", "/", scope["path"])
    return 404 if any(path == route or path.startswith((f"{route}/", f"{route}=")) for route in CLOSED) else 0


def playground(
    run: str | Path, *, port: int = 7860, loading: Loading = AS_THE_RUN, seed: int = 0, wait: bool = True
) -> Any:
    """Opens the page of a run, and serves it until it is interrupted.

    Args:
        port: 0 takes a free one.
        loading: how the run's model is loaded.
        seed: of the completions, which are drawn.
        wait: False returns the page at once, and the caller closes it.
    Raises:
        RequestError: Gradio is not installed, the run has no adapter, or the port is taken.
    """
    gradio = _gradio()
    from biasunlearn.scoring.side_by_side import open_run

    loaded, adapter = open_run(Path(run), loading)
    data = read_run(str(run))
    report = report_page(data)
    page = build_page(gradio, loaded, adapter, run_section(data.results, str(run), report), seed)
    chosen = port or _free_port()
    _check_port(chosen)
    page.launch(
        server_name="127.0.0.1", server_port=chosen, share=False, quiet=True, inbrowser=False,
        prevent_thread_lock=True, ssr_mode=False, footer_links=[], run_history=False, css=STYLE,
        theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        app_kwargs={"middleware": [_middleware(report)]},
    )  # fmt: skip
    if wait:
        page.block_thread()
    return page


def build_page(gradio: Any, loaded: Any, adapter: str, description: str, seed: int) -> Any:
    """The page: prompt, term list and attributes above; below, the results as written, with the group swapped, and the
    attributes of both groups.

    Args:
        description: HTML that says which run it is.
        seed: of the completions.
    """
    with gradio.Blocks(title="biasunlearn playground", analytics_enabled=False) as page:
        gradio.Markdown("# Base and debiased, side by side")
        gradio.HTML(f"{description}<p>{HELP}</p>", padding=False)
        with gradio.Row():
            prompt = gradio.Textbox(
                label="Prompt (Enter compares)", value=EXAMPLES[0], max_lines=1, autofocus=True, elem_id="prompt",
                scale=4, min_width=260,
            )  # fmt: skip
            terms = gradio.Dropdown(
                list(LISTS), value=LISTS[0], label="Swap the group by", elem_id="terms", scale=1, min_width=140
            )
            button = gradio.Button("Compare", variant="primary", elem_id="compare", scale=0, min_width=120)
        attributes = gradio.Textbox(
            label="Attributes to compare, with commas between them", value=ATTRIBUTES, max_lines=3, elem_id="attributes"
        )
        gradio.Examples([[text] for text in EXAMPLES], [prompt], label="Examples: choose one, then compare")
        with gradio.Row():
            shown = []
            for name in ("written", "swapped"):
                with gradio.Column(min_width=300):  # one below the other on a narrow screen
                    shown.append(gradio.HTML(elem_id=name, elem_classes="pair", min_height=80, container=True))
        shown.append(gradio.HTML(elem_id="of-both", elem_classes="pair", min_height=80, container=True))

        alone = Lock()  # a request switches the adapter off and on, in the one model that there is

        def compare(text: str, name: str, listed: str) -> tuple[str, str, str]:
            with alone:
                return compared(loaded, adapter, text, name, listed, seed=seed)

        for event in (button.click, prompt.submit, attributes.submit, terms.input, page.load):
            event(compare, [prompt, terms, attributes], shown, api_visibility="private")
    return page


def compared(
    loaded: Any, adapter: str, text: str, name: str, attributes: str = "", *, seed: int = 0
) -> tuple[str, str, str]:
    """HTML of the prompt as it is, of the prompt with its group swapped, and of the attributes of both.

    What is wrong with the prompt replaces the first part, what is wrong with the attributes the last one.
    """
    from biasunlearn.scoring.side_by_side import side_by_side, swapped, term_list

    try:
        first = side_by_side(loaded, adapter, text, seed)
        other, reason = swapped(first.prompt, term_list(name))
        found = None if other is None else side_by_side(loaded, adapter, other, seed)
    except RequestError as error:
        return fault(str(error)), "", ""
    prompts = [first.prompt] if found is None else [first.prompt, found.prompt]
    second = swap_refused(reason) if found is None else prompt_section(found, "Swapped", instead_of=first.prompt)
    return prompt_section(first, "As written"), second, _attributes(loaded, adapter, prompts, attributes)


def _attributes(loaded: Any, adapter: str, prompts: list[str], text: str) -> str:
    from biasunlearn.scoring.side_by_side import attribute_rows, read_attributes

    try:
        names = read_attributes(text)
        return attribute_section(attribute_rows(loaded, adapter, prompts, names), prompts) if names else ""
    except RequestError as error:
        return fault(str(error))


def _gradio() -> Any:
    """The library with its telemetry off: it reads these variables when it is imported."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    try:
        import gradio
    except ImportError:
        raise RequestError("playground: Gradio is not installed; pip install 'biasunlearn[playground]'") from None
    return gradio


def _middleware(report: str) -> Any:
    from starlette.middleware import Middleware

    return Middleware(_Guarded, report=report)


def _check_port(port: int) -> None:
    """RequestError for a port that cannot be listened on: Gradio would raise an error of its own."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RequestError(f"--port {port}: {reason}; choose another one, or 0 for a free one") from None


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
