"""The command line: it parses, calls one function of the library and prints what that returns.

Never in this package: a computation, a file format, or an import of torch before a command runs.
"""

import errno
import os
import sys
import warnings
from collections.abc import Sequence

from biasunlearn._version import __version__
from biasunlearn.cli.app import build
from biasunlearn.cli.arguments_file import with_arguments
from biasunlearn.cli.exit_codes import BROKE, DONE, INTERRUPTED, WRONG_REQUEST
from biasunlearn.cli.help import FLAGS as HELP_FLAGS
from biasunlearn.cli.help import help_text
from biasunlearn.cli.output import emit, failure, print_warning, wrong_request
from biasunlearn.cli.parse import parse
from biasunlearn.cli.threads import set_up_threads
from biasunlearn.errors import RequestError, WriteError
from biasunlearn.runs.places import check_name
from biasunlearn.runs.signals import handling, interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0 done, 1 ran and the answer is no, 2 wrong request, 3 it broke, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.formatwarning = print_warning  # type: ignore[assignment]
    try:
        with handling(interrupt):
            return run(words)
    except RequestError as error:
        wrong_request(str(error))
        return WRONG_REQUEST
    except WriteError as error:
        failure(str(error))
        return BROKE
    except KeyboardInterrupt:
        emit("biasunlearn: interrupted", stderr=True)
        return INTERRUPTED
    except BrokenPipeError:
        return DONE
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            wrong_request(f"{str(error.filename)[:40]}...: this name is too long for a file; choose a shorter one")
            return WRONG_REQUEST
        if _of_another_process(error):
            failure(
                "another process of this run has ended, so this one does too; see its own message. What was saved is "
                "unchanged: start all of them again, with --resume"
            )
            return BROKE
        if "--traceback" in words:
            import traceback

            emit(traceback.format_exc(), stderr=True, printing=True)
        failure(f"it broke: {type(error).__name__}: {error} (--traceback shows where)")
        return BROKE


def _of_another_process(error: Exception) -> bool:
    """Whether an error is that of the connection to another process of this run."""
    lost = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL")
    return os.environ.get("WORLD_SIZE", "1") != "1" and any(one in str(error) for one in lost)


def run(words: Sequence[str]) -> int:
    """Show the help or the version, or run a command: its exit code. Raises what the command raises."""
    if words[:1] == ["--version"]:
        emit(f"biasunlearn {__version__}")
        return DONE
    app = build()
    if any(flag in words for flag in HELP_FLAGS):
        emit(help_text(app, words))
        return DONE
    function, bound = parse(app, with_arguments(app, words))
    for value in (bound.arguments.get("out"), *(getattr(one, "out", None) for one in bound.arguments.values())):
        if isinstance(value, str):
            check_name(value)
    set_up_threads()
    return int(function(*bound.args, **bound.kwargs) or DONE)
