"""`playground`: a page on this machine where a prompt is put to base and debiased model. Extra `[playground]` (Gradio).

Nothing leaves the machine: the server listens on 127.0.0.1, there is no share link and no telemetry, and the page is
sent with a policy that forbids the browser to ask anybody else.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from html import escape
from pathlib import Path
from typing import Any

from .errors import RequestError

LISTS = ("gender", "race", "religion", "profession")

EXAMPLES = ("The nurse told the patient that she", "The engineer said BLANK would be late.", "John works as a")

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'"
)

STYLE = """
.pair table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
.pair th, .pair td { padding: .25rem .6rem; text-align: right; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important }
.pair th:first-child, .pair td:first-child { text-align: left }
.pair .bar { display: inline-block; height: .6em; background: #c2410c; vertical-align: middle; margin-right: .4em }
.pair .bar.debiased { background: #0f766e } .pair dt { font-weight: 600; margin-top: .5rem } .pair dd { margin: 0 }
"""

Scope = MutableMapping[str, Any]


class _OnlyHere:
    """Adds the policy to every answer (ASGI)."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        async def with_policy(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, with_policy)


def playground(run: str | Path, *, port: int = 7860, wait: bool = True) -> Any:
    """Opens the page of a run, and stays until it is interrupted.

    Args:
        port: 0 takes a free one.
        wait: False returns the page at once; the caller closes it.
    Raises:
        RequestError: Gradio is not installed, or the run has no adapter.
    """
    gradio = _gradio()
    from .playing import open_run

    loaded, adapter = open_run(Path(run))
    page = build_page(gradio, loaded, adapter, str(run))
    page.launch(
        server_name="127.0.0.1", server_port=port or _free_port(), share=False, quiet=True, inbrowser=False,
        prevent_thread_lock=True, ssr_mode=False, footer_links=[], run_history=False, css=STYLE,
        theme=gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        app_kwargs={"middleware": [_middleware()]},
    )  # fmt: skip
    if wait:
        page.block_thread()
    return page


def build_page(gradio: Any, loaded: Any, adapter: str, run: str) -> Any:
    """The page: prompt and list above, as it is written and with the group swapped below. Enter compares."""
    with gradio.Blocks(title="biasunlearn playground", analytics_enabled=False) as page:
        gradio.Markdown("# Base and debiased, side by side\nWrite a beginning, or a sentence with BLANK in it.")
        gradio.HTML(f"<code>{escape(run)}</code>")
        prompt = gradio.Textbox(label="Prompt", value=EXAMPLES[0], max_lines=1, autofocus=True, elem_id="prompt")
        terms = gradio.Dropdown(list(LISTS), value=LISTS[0], label="Swap the group by", elem_id="terms")
        button = gradio.Button("Compare", variant="primary", elem_id="compare")
        gradio.Examples([[text] for text in EXAMPLES], [prompt])
        with gradio.Row():
            shown = [gradio.HTML(elem_id=name, elem_classes="pair") for name in ("written", "swapped")]

        def compare(text: str, name: str) -> tuple[str, str]:
            return compared(loaded, adapter, text, name)

        for event in (button.click, prompt.submit):
            event(compare, [prompt, terms], shown, api_visibility="private")
    return page


def compared(loaded: Any, adapter: str, text: str, name: str) -> tuple[str, str]:
    """HTML of the prompt as it is, and with its group swapped. What the user can mend is said in place of a table."""
    from .playing import side_by_side, swapped, term_list

    try:
        first = as_html(side_by_side(loaded, adapter, text), "As written")
        other, reason = swapped(text, term_list(name))
        if other is None:
            return first, f"<h3>Swapped</h3><p>Not swapped: {escape(reason)}</p>"
        return first, as_html(side_by_side(loaded, adapter, other), "Swapped")
    except RequestError as error:
        return f'<p role="alert">{escape(str(error))}</p>', ""


def as_html(seen: Any, title: str) -> str:
    """A table of words with bars, and the completions. Everything in it is text that somebody or something wrote."""
    widest = max((value for _, *values in seen.words for value in values), default=1.0) or 1.0
    rows = "".join(
        f"<tr><td>{escape(word)}</td>{_cell(base, widest, 'base')}{_cell(debiased, widest, 'debiased')}</tr>"
        for word, base, debiased in seen.words
    )
    prompt = escape(seen.prompt)
    written = "".join(
        f"<dt>{state}</dt><dd>{prompt}<b>{escape(text)}</b></dd>" for state, text in seen.completions.items()
    )
    head = "<tr><th>word</th><th>base</th><th>debiased</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>" if rows else "<p>No whole word comes next.</p>"
    return f"<h3>{title}</h3><p>{prompt}</p>{table}<dl>{written}</dl>"


def _cell(value: float, widest: float, state: str) -> str:
    width = f"{4 * value / widest:.2f}em"
    return f'<td><span class="bar {state}" style="width:{width}"></span>{100 * value:.1f} %</td>'


def _gradio() -> Any:
    """The library with its telemetry off, which it reads from the environment when it is imported."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    try:
        import gradio
    except ImportError:
        raise RequestError("playground: Gradio is not installed; pip install 'biasunlearn[playground]'") from None
    return gradio


def _middleware() -> Any:
    from starlette.middleware import Middleware

    return Middleware(_OnlyHere)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
