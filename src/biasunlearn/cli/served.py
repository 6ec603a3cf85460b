"""Commands about a model that a server runs: verify."""

from typing import Annotated

from cyclopts import Parameter

from biasunlearn.cli.app import command
from biasunlearn.cli.exit_codes import DONE, REFUSED
from biasunlearn.cli.options import MODEL, Execution, Output, Run
from biasunlearn.cli.output import note, show


@command
def verify(
    run: Run,
    /,
    *,
    endpoint: Annotated[str, Parameter(metavar="URL", group=MODEL)],
    model: Annotated[str, Parameter(name="--model", metavar="NAME", group=MODEL)],
    base: Annotated[str | None, Parameter(metavar="NAME", group=MODEL)] = None,
    execution: Execution = Execution(),
    output: Output = Output(),
) -> int:
    """Check that a server answers as the debiased model of a run, by what it answers.

    The exit code is 0 if the adapter is on, and 1 if it is not, or only partly.

    Args:
        run: Folder of a debias, transfer or combine run with a LoRA adapter.
        endpoint: Address of an OpenAI-compatible server, as http://HOST:PORT/v1. A key is read from
            BIASUNLEARN_API_KEY.
        model: Name under which the server has the debiased model.
        base: Name under which it has the base model. Differences at the server are then compared with those here, so
            that it may use another precision.

    Examples:
        biasunlearn verify runs/mine --endpoint http://127.0.0.1:8000/v1 \\
            --model debiased
        biasunlearn verify runs/mine --endpoint http://127.0.0.1:8000/v1 \\
            --model debiased --base owner/base --json
    """
    from biasunlearn.commands.verify import Loading, verify
    from biasunlearn.report.tables.served import served_tables

    execution.refuse("verify stores nothing and measures nothing", "limit", "resume", "overwrite")
    result = verify(
        run, endpoint=endpoint, model=model, base=base, loading=Loading(**execution.loading()),
        seed=execution.seed or 0, say=None if execution.quiet else note,
    )  # fmt: skip
    show(result, output, served_tables)
    return DONE if result.applied else REFUSED
