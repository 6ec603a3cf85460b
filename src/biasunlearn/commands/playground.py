"""`playground`: a local page that compares base and debiased model on a prompt. Extra `[playground]` (Gradio).

Nothing leaves the machine: the server listens on 127.0.0.1, there is no share link and no telemetry, and the page has
a content security policy that forbids requests to other servers.
"""

import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from difflib import SequenceMatcher
from html import escape
from pathlib import Path
from threading import Lock
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.spec import AS_THE_RUN, Loading
from biasunlearn.runs.folder import RunFolder

LISTS = ("gender", "race", "religion", "profession")

LEAST = 0.001
"""Words with a lower probability in both models are listed without a row of their own."""

HELP = (
    "Write the beginning of a sentence, or a sentence with BLANK in it. Both models complete it, and again with the "
    "group swapped. Single prompts are no evidence of an effect; the report is."
)

EXAMPLES = ("The nurse told the patient that she", "My sister said BLANK would be late.", "John works as a")

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'"
)

STYLE = """
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


class _Guarded:
    """Refuses requests under another host's name and routes to files, and adds the policy to every response (ASGI)."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        async def with_policy(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        if scope["type"] in ("http", "websocket") and (status := _refused(scope)):
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"refused\n"})
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
    page = build_page(gradio, loaded, adapter, describe(Path(run)), seed)
    chosen = port or _free_port()
    _check_port(chosen)
    page.launch(
        server_name="127.0.0.1", server_port=chosen, share=False, quiet=True, inbrowser=False,
        prevent_thread_lock=True, ssr_mode=False, footer_links=[], run_history=False, css=STYLE,
        theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        app_kwargs={"middleware": [_middleware()]},
    )  # fmt: skip
    if wait:
        page.block_thread()
    return page


def build_page(gradio: Any, loaded: Any, adapter: str, description: str, seed: int) -> Any:
    """The page: prompt and term list above, the results as written and with the group swapped below.

    Args:
        description: which run it is.
        seed: of the completions.
    """
    with gradio.Blocks(title="biasunlearn playground", analytics_enabled=False) as page:
        gradio.Markdown("# Base and debiased, side by side")
        gradio.HTML(f"<p>{escape(description)}</p><p>{HELP}</p>", padding=False)
        with gradio.Row():
            prompt = gradio.Textbox(
                label="Prompt (Enter compares)", value=EXAMPLES[0], max_lines=1, autofocus=True, elem_id="prompt",
                scale=4, min_width=260,
            )  # fmt: skip
            terms = gradio.Dropdown(
                list(LISTS), value=LISTS[0], label="Swap the group by", elem_id="terms", scale=1, min_width=140
            )
            button = gradio.Button("Compare", variant="primary", elem_id="compare", scale=0, min_width=120)
        gradio.Examples([[text] for text in EXAMPLES], [prompt], label="Examples: choose one, then compare")
        with gradio.Row():
            shown = []
            for name in ("written", "swapped"):
                with gradio.Column(min_width=300):  # one below the other on a narrow screen
                    shown.append(gradio.HTML(elem_id=name, elem_classes="pair", min_height=80, container=True))

        alone = Lock()  # a request switches the adapter off and on, in the one model that there is

        def compare(text: str, name: str) -> tuple[str, str]:
            with alone:
                return compared(loaded, adapter, text, name, seed)

        for event in (button.click, prompt.submit, terms.input, page.load):
            event(compare, [prompt, terms], shown, api_visibility="private")
    return page


def describe(run: Path) -> str:
    """Which run it is, and its result: "minilm, run runs/mine: SS 61.2 before, 50.2 after"."""
    results = RunFolder(run).read_results()
    found = f"{Path(str(results.model)).name}, run {run}"
    before, after = results.before and results.before.stereoset, results.benchmarks.stereoset
    if not before or not after:
        return found
    first, last = before.overall.ss.value, after.overall.ss.value
    return f"{found}: SS {first:.1f} before, {last:.1f} after, on its report split"


def compared(loaded: Any, adapter: str, text: str, name: str, seed: int = 0) -> tuple[str, str]:
    """HTML of the prompt as it is, and with its group swapped. An error replaces the table."""
    from biasunlearn.scoring.side_by_side import side_by_side, swapped, term_list

    try:
        first = as_html(side_by_side(loaded, adapter, text, seed), "As written")
        other, reason = swapped(text, term_list(name))
        if other is None:
            return first, _live(f"<h2>Swapped</h2><p>Not swapped: {escape(reason)}</p>")
        return first, as_html(side_by_side(loaded, adapter, other, seed), "Swapped", instead_of=text)
    except RequestError as error:
        return f'<p role="alert" class="fault">{escape(str(error))}</p>', ""


def as_html(seen: Any, title: str, instead_of: str = "") -> str:
    """A table of words with bars, and the completions. All text in it is untrusted, and escaped.

    Args:
        instead_of: the original prompt; words that differ from it are marked.
    """
    shown = [row for row in seen.words if max(row[1:]) >= LEAST]
    few = [word for word, *values in seen.words if max(values) < LEAST]
    widest = max((value for _, *values in shown for value in values), default=1.0)
    rows = "".join(
        f'<tr><th scope="row">{escape(word)}</th>'
        f"{_cell(base, widest, 'base')}{_cell(debiased, widest, 'debiased')}</tr>"
        for word, base, debiased in shown
    )
    written = "".join(
        f"<dt>{state} continues</dt><dd>{escape(seen.prompt)}<b>{escape(text)}</b></dd>"
        for state, text in seen.completions.items()
    )
    head = '<tr><th scope="col">word</th><th scope="col">base</th><th scope="col">debiased</th></tr>'
    what = "Probability of the next word" if seen.completions else "In the BLANK: shares of the words shown"
    table = f"<table><caption>{what}</caption><thead>{head}</thead><tbody>{rows}</tbody></table>"
    table = table if rows else "<p>No complete word follows.</p>"
    if few:
        table += f"<p>Below {100 * LEAST:g} % in both: {escape(', '.join(few))}</p>"
    prompt = _marked(seen.prompt, instead_of) if instead_of else escape(seen.prompt)
    return _live(f'<h2>{title}</h2><p class="prompt">{prompt}</p>{table}<dl>{written}</dl>')


def _live(content: str) -> str:
    """A part of the page whose changes a screen reader announces."""
    return f'<div aria-live="polite">{content}</div>'


def _marked(prompt: str, other: str) -> str:
    """The prompt with the words that differ from another prompt's marked."""
    parts, theirs = prompt.split(), other.split()
    found = []
    for tag, first, last, *_ in SequenceMatcher(None, parts, theirs, autojunk=False).get_opcodes():
        words = escape(" ".join(parts[first:last]))
        if words:
            found.append(words if tag == "equal" else f"<mark>{words}</mark>")
    return " ".join(found)


def _cell(value: float, widest: float, state: str) -> str:
    width = f"{5 * value / widest:.2f}em"
    return (
        f'<td class="{state}"><span class="share">{100 * value:.1f} %</span>'
        f'<span class="bar" style="width:{width}"></span></td>'
    )


def _gradio() -> Any:
    """The library with its telemetry off: it reads these variables when it is imported."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    try:
        import gradio
    except ImportError:
        raise RequestError("playground: Gradio is not installed; pip install 'biasunlearn[playground]'") from None
    return gradio


def _middleware() -> Any:
    from starlette.middleware import Middleware

    return Middleware(_Guarded)


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
