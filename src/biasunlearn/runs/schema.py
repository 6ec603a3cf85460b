"""How stored JSON is checked when it is read: the base of all stored types, their numbers, and errors in one line.

A run folder may come from a stranger, from another version, or from a disk that lost part of it. Whatever is read
from it becomes one of these types, or a RequestError that names the file, the place in it, and what belongs there.
Keys that this version does not know are kept as they are.
"""

from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from biasunlearn.data.strict_json import parse_json
from biasunlearn.errors import RequestError

LARGEST = 1e15
"""No score, loss, count or duration of ours is as large; sums and pictures of such numbers cannot overflow."""

Number = Annotated[float, AllowInfNan(False), Field(ge=-LARGEST, le=LARGEST)]
Positive = Annotated[float, AllowInfNan(False), Field(gt=0, le=1e300)]
"""A perplexity, which of a broken model may be very large."""
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Text = str | None
Whole = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]

Kind = TypeVar("Kind", bound="Record")

FIX = "restore the file, or make the run again"

TAGS = frozenset(("interval", "other"))
"""Names of alternatives, which are no part of the place in a file."""

MESSAGES = {
    "missing": "is missing",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "string_unicode": "must be a text in UTF-8",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "model_type": "must be an object",
    "list_type": "must be a list",
    "sequence_str": "must be a list",
    "is_instance_of": "must be a list",
}
"""Pydantic's kinds of errors in the words of JSON; others are shown as pydantic has them."""


class Record(BaseModel):
    """One stored object: frozen, strictly typed. Unknown keys are kept and written back."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, protected_namespaces=(), defer_build=True)

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: the keys that were given or read, and no others."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    def with_values(self, **values: Any) -> Self:
        """A copy with other values in some fields, checked as the first ones were."""
        return type(self).model_validate({**self.given, **values}, by_name=True)

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were given or read, unknown ones too, by their Python names."""
        names = {*self.model_fields_set, *(self.model_extra or {})}
        return {name: value for name, value in self if name in names}


def read_as(kind: type[Kind], content: Any, where: str) -> Kind:
    """Content of a file as one of our types.

    Args:
        content: what `json.loads` or `yaml.safe_load` gave.
        where: the file, for the message.
    Raises:
        RequestError: it is something else; names the file and the place in it.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise RequestError(f"{where}: {first_problem(error)}; {FIX}") from None


def wrong_at(place: str, message: str) -> PydanticCustomError:
    """To be raised by a check of a whole object, about a place inside it."""
    return PydanticCustomError("wrong_at", "{message}", {"place": place, "message": message})


def first_problem(error: ValidationError) -> str:
    """The first of what is wrong and how many more there are, in one line."""
    problems = error.errors(include_url=False)
    first = problems[0]
    parts = [str(part) for part in first["loc"] if part not in TAGS]
    parts += [first["ctx"]["place"]] if first["type"] == "wrong_at" and first["ctx"]["place"] else []
    message = MESSAGES.get(first["type"]) or first["msg"].replace("Input should be", "must be")
    more = f" (and {len(problems) - 1} more such places)" if len(problems) > 1 else ""
    return f"{'.'.join(parts)}: {message}{more}" if parts else f"{message}{more}"


def read_json(path: Path) -> Any:
    """The content of a JSON file. RequestError where it cannot be read; FileNotFoundError is left to the caller."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # BadJSON and UnicodeDecodeError are ValueErrors
        raise RequestError(f"{path}: cannot be read: {_line(error)}") from None


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
