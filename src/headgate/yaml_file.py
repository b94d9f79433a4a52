"""Reading YAML into a contract, with errors that name the line and say what to write instead."""

import difflib
import reprlib
import sys
from contextlib import nullcontext
from math import isnan
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from headgate.model.errors import ConfigurationError

Document = TypeVar("Document", bound=BaseModel)

_Path = tuple[str | int, ...]
_MAX_BYTES: Final = 10_000_000
_MAX_NODES: Final = 1_000_000
_MAX_PROBLEMS: Final = 10
_MAX_SHOWN: Final = 80

# What YAML's own constructors raise besides its errors, such as for the date 2024-13-01.
_MALFORMED: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def read_yaml(file: Path, contract: type[Document], what: str, parts: str) -> Document:
    """Read and validate a file.

    Args:
        file: YAML; an empty one is one without keys. ``-`` is the standard input.
        contract: What it must be.
        what: What one file is, in words, such as ``configuration``.
        parts: What stands at its top, in words, such as ``sections``.

    Raises:
        ConfigurationError: With file, line, path and what to write instead; one line for each of
            the first ten problems.
    """
    is_input = file == Path("-")
    file = Path("standard input") if is_input else file
    try:
        with nullcontext(sys.stdin.buffer) if is_input else file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigurationError(f"{file}: larger than {_MAX_BYTES} bytes")
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{file}: cannot be read: {reason}") from error
    document, lines = _parse(file, text, what)
    try:
        # Strict: `yes` is no number, and neither is "10".
        return contract.model_validate({} if document is None else document, strict=True)
    except ValidationError as error:
        top = f"{parts} at its top: {', '.join(contract.model_fields)}"
        problems: dict[tuple[int, str], str] = {}
        for details in error.errors(include_url=False):
            line, place, advice = _explain(contract, top, lines, details)
            # Of the alternatives that a value could have been, the first is the usual one.
            problems.setdefault((line, place), f"{file}:{line}: {place}: {advice}")
        raise ConfigurationError("\n".join(list(problems.values())[:_MAX_PROBLEMS])) from error


# What stands on which line -------------------------------------------------------------------


def _parse(file: Path, text: str, what: str) -> tuple[Any, dict[_Path, int]]:
    """Return the document and the line on which each of its paths begins."""
    lines: dict[_Path, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _Walk(file, loader, lines).visit(node, (), ())
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{file}:{line}: not YAML: {_problem(error, what)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(
            f"{file}:{line}: not YAML: the character {_character(error)} is not allowed in it"
        ) from error
    except (RecursionError, yaml.YAMLError, *_MALFORMED) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else _one_line(str(error))
        raise ConfigurationError(f"{file}: not YAML: {reason}") from error


def _character(error: yaml.reader.ReaderError) -> str:
    return repr(chr(error.character)) if isinstance(error.character, int) else error.character


def _problem(error: yaml.MarkedYAMLError, what: str) -> str:
    problem = _one_line(error.problem or str(error))
    if "'\\t'" in problem:
        return f"{problem}; indent with spaces, not tabs"
    if "another document" in problem:
        return f"a second document begins here; one file is one {what}"
    return f"{_one_line(error.context)}, {problem}" if error.context else problem


class _Walk:
    """Visits every node once for each path that leads to it, and notes the lines.

    Args:
        file: For messages.
        loader: Which made the nodes.
        lines: The lines by path, filled here.
    """

    def __init__(self, file: Path, loader: yaml.SafeLoader, lines: dict[_Path, int]) -> None:
        self._file = file
        self._loader = loader
        self._lines = lines
        self._nodes = 0

    def visit(self, node: yaml.Node, path: _Path, above: tuple[int, ...]) -> None:
        """Note the lines of ``node`` and what is in it; ``above`` are the ids of its parents."""
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise ConfigurationError(
                f"{self._file}: more than {_MAX_NODES} values, aliases resolved; write fewer"
            )
        if id(node) in above:
            raise ConfigurationError(
                f"{self._file}:{line}: {_dotted(path)}: contains itself: remove the alias"
            )
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, path, above)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self.visit(value, (*path, index), above)
        else:
            self._scalar(node, path, line)

    def _mapping(self, node: yaml.MappingNode, path: _Path, above: tuple[int, ...]) -> None:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigurationError(
                    f"{self._file}:{line}: {_dotted(path)}: a key must be a word"
                )
            name = key.value
            if name in seen:
                raise ConfigurationError(
                    f"{self._file}:{line}: {_dotted((*path, name))}: written twice, first on line "
                    f"{seen[name]}: remove one of them"
                )
            seen[name] = line
            if not isinstance(self._scalar(key, (*path, name), line), str):
                raise ConfigurationError(
                    f"{self._file}:{line}: {_dotted((*path, name))}: is not read as text; "
                    f"put it in quotes: {name!r}"
                )
            # What is merged with << stands where the alias stands.
            inner = path if key.tag == "tag:yaml.org,2002:merge" else (*path, name)
            self._lines.setdefault(inner, line)
            self.visit(value, inner, above)

    def _scalar(self, node: yaml.Node, path: _Path, line: int) -> object:
        if node.tag == "tag:yaml.org,2002:merge":
            return node.value
        try:
            return self._loader.construct_object(node)
        except _MALFORMED as error:
            raise ConfigurationError(
                f"{self._file}:{line}: {_dotted(path)}: not YAML: {_shown(node.value)} is not "
                f"{node.tag.rpartition(':')[2]}; put it in quotes if it is meant as text"
            ) from error


# What is wrong, in words -----------------------------------------------------------------------


def _explain(
    contract: type[BaseModel], top: str, lines: dict[_Path, int], details: ErrorDetails
) -> tuple[int, str, str]:
    """Return line, path and advice."""
    location: _Path = details.get("ctx", {}).get("path", details["loc"])
    # Pydantic names alternatives of a union in the path; only what stands in the file is kept.
    path: _Path = ()
    for part in location:
        if (*path, part) in lines:
            path = (*path, part)
    if details["type"] == "missing":
        path = (*path, details["loc"][-1])
    line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)
    return line, _dotted(path), _advice(contract, top, details, path)


def _advice(contract: type[BaseModel], top: str, details: ErrorDetails, path: _Path) -> str:
    value, context = details["input"], details.get("ctx", {})
    if "[key]" in details["loc"] and details["type"] != "value_error":
        return _advice_on_name(path[-1] if path else "")
    if isinstance(value, float) and isnan(value):
        return f"is {_shown(value)}, which is not a number; write a number"
    match details["type"]:
        case "extra_forbidden":
            return _advice_on_key(contract, details["loc"])
        case "missing":
            return "is missing; add it"
        case "greater_than_equal":
            return f"is {_shown(value)}; write at least {context['ge']}"
        case "greater_than":
            return f"is {_shown(value)}; write more than {context['gt']}"
        case "less_than_equal":
            return f"is {_shown(value)}; write at most {context['le']}"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"is {_shown(value)}; write a whole number"
        case "float_type" | "float_parsing" | "finite_number":
            return f"is {_shown(value)}; write a number"
        case "string_type":
            return f"is {_shown(value)}; write text{_in_quotes(value)}"
        case "list_type":
            return f"is {_shown(value)}; write a list such as [a, b]"
        case "model_type" | "dict_type" | "model_attributes_type" | "too_short" if path == ():
            return f"is {_shown(value)}; write {top}"
        case "model_type" | "model_attributes_type" if context.get("class_name") == "Rate":
            return f"is {_shown(value)}; write it like 10/s, 600/m, 50/h or 1000/d"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"is {_shown(value)}; write keys and values below it"
        case "too_short":
            return "is empty; write at least one"
        case "union_tag_not_found" | "union_tag_invalid":
            return _advice_on_kind(contract, details)
        case "literal_error":
            return f"is {_shown(value)}; write {context['expected']}"
        case "value_error":
            return _one_line(str(context["error"]))
        case "misfit":
            return _one_line(context["message"])
        case "string_too_short":
            return "is empty; write something, or leave it out"
        case "string_pattern_mismatch" | "string_too_long":
            return _advice_on_name(value)
        case _:
            return f"is {_shown(value)}: {_one_line(details['msg'])}"


def _advice_on_kind(contract: type[BaseModel], details: ErrorDetails) -> str:
    kinds = " or ".join(
        f"kind: {kind}" for kind in _kinds(_annotation_at(contract, details["loc"]))
    )
    if details["type"] == "union_tag_not_found":
        return f"has no kind; add {kinds}"
    return f"has the kind {_shown(details['ctx']['tag'])}; write {kinds}"


def _advice_on_name(name: object) -> str:
    if isinstance(name, str) and len(name) > 200:
        return f"is a name of {len(name)} characters; write at most 200"
    return (
        f"{_shown(name)} is no name; write letters, digits and . _ : @ / + - beginning with a "
        "letter or digit"
    ) + _in_quotes(name)


def _advice_on_key(contract: type[BaseModel], location: _Path) -> str:
    keys = sorted(_keys_at(contract, location[:-1]))
    close = difflib.get_close_matches(str(location[-1]), keys, n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {close[0]}?"
    return f"unknown key; here you can write {', '.join(keys)}"


def _keys_at(contract: type[BaseModel], location: _Path) -> set[str]:
    """Return the keys of the model that stands at a place of the document."""
    at = _bare(_annotation_at(contract, location))
    return set(at.model_fields) if _is_model(at) else set()


def _annotation_at(contract: type[BaseModel], location: _Path) -> Any:
    """Return what may stand at a place of the document."""
    at: Any = contract
    for part in location:
        kinds = _kinds(at)
        at = _bare(at)
        if part in kinds:  # pydantic names the alternative that was chosen
            at = kinds[str(part)]
        elif _is_model(at):
            field = at.model_fields.get(str(part))
            at = field.annotation if field else None
        elif get_origin(at) in (dict, list):
            at = get_args(at)[-1]
    return at


def _kinds(annotation: Any) -> dict[str | int, Any]:
    """Return the alternatives of a union of which the key ``kind`` chooses one."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in (Union, UnionType):
        return {}
    bare = [_bare(one) for one in get_args(annotation)]
    models = [one for one in bare if _is_model(one) and "kind" in one.model_fields]
    return {
        kind: model for model in models for kind in get_args(model.model_fields["kind"].annotation)
    }


def _bare(annotation: Any) -> Any:
    """Return what is annotated, or can be null."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = get_args(annotation)[0]
    return annotation


def _is_model(at: Any) -> bool:
    return isinstance(at, type) and issubclass(at, BaseModel)


def _dotted(path: _Path) -> str:
    return ".".join(_word(part) for part in path) if path else "the file"


def _word(part: str | int) -> str:
    text = str(part)
    plain = text.isprintable() and 0 < len(text) <= _MAX_SHOWN
    return text if plain else _shown(text)


def _shown(value: object) -> str:
    """Return a value as it is shown in a message: short, and on one line."""
    try:
        text = repr(value) if isinstance(value, float) else _REPR.repr(value)
    except ValueError:  # a number of more than some thousand digits
        return "a number of very many digits"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _in_quotes(value: object) -> str:
    is_text = value is None or isinstance(value, str | list | dict)
    return "" if is_text else ", in quotes if it is not meant as a number, a date or yes and no"


def _one_line(text: str) -> str:
    return " ".join(text.split())


class _Repr(reprlib.Repr):
    """Writes values as a YAML file has them."""

    def repr1(self, x: Any, level: int) -> str:
        if x is None or isinstance(x, bool):
            return {None: "empty", True: "true", False: "false"}[x]
        return super().repr1(x, level)


_REPR: Final = _Repr()
_REPR.maxstring = _REPR.maxother = _MAX_SHOWN
