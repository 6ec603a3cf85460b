"""JSON, read strictly: what Python's reader accepts silently, or fails at without a usable message, is an error."""

import json
from collections import Counter
from typing import Any


class BadJSON(ValueError):
    """A text that is not JSON, or not JSON that can be used. `line` counts from 1 within the text."""

    def __init__(self, reason: str, line: int = 1):
        self.line = line
        super().__init__(reason)


def parse_json(text: str) -> Any:
    """The value of a JSON text. NaN, which pandas writes for a missing value, is a float as in Python's reader.

    Raises:
        BadJSON: not JSON; a key occurs twice in one object, so that one of its values would be lost; nested too
            deeply; a number of thousands of digits.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise BadJSON(f"not JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise BadJSON("not usable JSON: nested too deeply") from None
    except BadJSON:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise BadJSON(f"not usable JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise BadJSON(f"the key {twice!r} occurs twice in one object; keep one of them")
    return found
