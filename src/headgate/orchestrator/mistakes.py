"""What is wrong with what a user's code or file says, in plain words."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_MAX_SHOWN: Final = 80
_AS_GIVEN: Final = ("value_error", "misfit")


def first_mistake(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return where the first mistake is, what stands there and what to write instead.

    Args:
        error: What pydantic found.
        kind: What was to be read; for the names of its fields.
    """
    found = error.errors(include_url=False)
    # A name that is misspelt is missing, too: what stands there says more than what does not.
    unknown = [one for one in found if one["type"] == "extra_forbidden"]
    mistake = (unknown or found)[0]
    path = [str(part) for part in mistake["loc"] if part != "[key]"]
    where = ".".join(path)
    if mistake["type"] == "extra_forbidden":
        return f"{where}: there is no such key; {meant(path[-1], kind.model_fields)}"
    if mistake["type"] == "missing":
        return f"{where} is missing: add it"
    if mistake["type"] in _AS_GIVEN:
        return mistake["msg"].removeprefix("Value error, ")
    return f"{where} is {shown(mistake['input'])}: {_advice(mistake)}"


def shown(value: object) -> str:
    """Return a value as it is shown in a message: short, and on one line."""
    return " ".join(_REPR.repr(value).split())


def _advice(mistake: ErrorDetails) -> str:
    bounds = mistake.get("ctx", {})
    match mistake["type"]:
        case "greater_than_equal":
            return f"write at least {bounds['ge']}"
        case "less_than_equal":
            return f"write at most {bounds['le']}"
        case "int_type" | "int_parsing" | "int_from_float":
            return "write a whole number"
        case "float_type" | "float_parsing":
            return "write a number"
        case "string_type":
            return "write text"
        case "dict_type":
            return "write units by resource, such as {'slot': 1}"
        case "literal_error":
            return f"write {bounds['expected']}"
        case "string_pattern_mismatch" | "string_too_short" | "string_too_long":
            return (
                "write a name of at most 200 letters, digits and . _ : @ / + - that begins with a "
                "letter or digit"
            )
        case _:
            words = mistake["msg"]
            return words[:1].lower() + words[1:]


def meant(name: str, known: Iterable[str]) -> str:
    """Return which of the known names one was perhaps meant to be, or which there are."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"there is {', '.join(names)}"


_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _MAX_SHOWN
