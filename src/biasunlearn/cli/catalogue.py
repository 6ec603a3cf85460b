"""Commands that say what there is: list, show, info."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from biasunlearn.cli.app import command
from biasunlearn.cli.options import Output
from biasunlearn.cli.output import show

if TYPE_CHECKING:
    from biasunlearn.commands.catalogue import Info


@command
def list_(
    what: Annotated[Literal["benchmarks", "methods", "recipes", "terms", "scores", "presets"], Parameter(name="WHAT")],
    /,
    *,
    output: Output = Output(),
) -> None:
    """List benchmarks, methods, recipes, term lists, scores or presets of gate, with one line each.

    Args:
        what: What to list.

    Examples:
        biasunlearn list benchmarks
        biasunlearn list methods --json
    """
    from biasunlearn.commands.catalogue import entries

    found = entries(what)
    width = max(len(entry.name) for entry in found)
    listed = {"what": what, "entries": [{"name": entry.name, "summary": entry.summary} for entry in found]}
    show(listed, output, lambda _: "\n".join(f"{entry.name:{width}}  {entry.summary}" for entry in found))


@command
def show_(
    what: Annotated[Literal["recipe"], Parameter(name="WHAT")],
    name: Annotated[str, Parameter(name="NAME")],
    /,
    *,
    output: Output = Output(),
) -> None:
    """Print a recipe that is shipped, with its comments. A copy of it can be changed and given with --config.

    Args:
        what: What to show.
        name: Name of the recipe (biasunlearn list recipes).

    Examples:
        biasunlearn show recipe paper
        biasunlearn show recipe biasunlearn > mine.yaml
    """
    from biasunlearn.commands.catalogue import recipe_text

    text = recipe_text(name)
    show({"what": what, "name": name, "text": text}, output, lambda _: text.rstrip("\n"))


@command
def info(*, output: Output = Output()) -> None:
    """Print versions, devices, threads, memory and which extras are installed.

    Examples:
        biasunlearn info
        biasunlearn info --json
    """
    from biasunlearn.commands.catalogue import info

    show(info(), output, _info_lines)


def _info_lines(found: "Info") -> str:
    packages = ", ".join(f"{name} {version or 'missing'}" for name, version in found.packages.items())
    have = [name for name, there in found.extras.items() if there]
    lack = [name for name, there in found.extras.items() if not there]
    memory = "unknown" if found.memory is None else f"{found.memory / 2**30:.1f} GiB"
    return "\n".join(
        (
            f"biasunlearn  {found.version}, Python {found.python}, {found.platform}",
            f"packages     {packages}",
            f"devices      {', '.join(found.devices)}",
            f"processor    {found.cores} cores, {found.threads} threads",
            f"memory       {memory}",
            f"extras       {', '.join(have) or 'none'} (not installed: {', '.join(lack) or 'none'})",
        )
    )
