"""The part of kubectl's JSONPath templates that people use: `{.items[*].metadata.name}`, `{range .items[*]}...{end}`.

Paths know `.name`, `['name']`, `[0]`, `[-1]`, `[1:3]`, `[*]`, `.*`, `..name`, and filters such as
`[?(@.type=="Ready")]`. Used by `get -o jsonpath=` and `--sort-by`, and `wait --for=jsonpath=`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from swarmkeep.errors import InvalidObject

_Step = Callable[[Any], list[Any]]

_TOKEN = re.compile(
    r"""\.\.(?P<deep>[A-Za-z_][\w-]*)
      | \.(?P<star>\*)
      | \.(?P<name>[A-Za-z_](?:[\w-]|\\.)*)
      | \[(?P<index>-?\d+)\]
      | \[(?P<start>-?\d*):(?P<stop>-?\d*)\]
      | \[(?P<all>\*)\]
      | \[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]
      | \[\?\((?P<filter>.*?)\)\]""",
    re.VERBOSE,
)
_FILTER = re.compile(r"@(?P<path>[^\s=!<>]*)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<value>.+?))?\s*$")


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path; calling it gives all values that it leads to."""

    text: str
    steps: tuple[_Step, ...]

    def __call__(self, value: Any) -> list[Any]:
        found = [value]
        for step in self.steps:
            found = [result for one in found for result in step(one)]
        return found


def compile_path(text: str) -> Path:
    """Reads `.spec.policy`, with or without braces, `$` or the first dot. Raises InvalidObject."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    inner = inner.removeprefix("$")
    if inner and inner[0] not in ".[":
        inner = f".{inner}"
    if inner == ".":
        inner = ""
    steps = []
    position = 0
    while position < len(inner):
        match = _TOKEN.match(inner, position)
        if match is None:
            raise InvalidObject(f"the JSONPath {text!r} cannot be read from {inner[position:]!r} on")
        steps.append(_step(match, text))
        position = match.end()
    return Path(text, tuple(steps))


def render(template: str, value: Any) -> str:
    """Fills a template as kubectl does: values of one path are joined by blanks. Raises InvalidObject."""
    parts = _split(template)
    text, rest = _render(parts, value, value)
    if rest:
        raise InvalidObject(f"the JSONPath {template!r} has an {{end}} without a {{range}}")
    return text


def as_text(value: Any) -> str:
    """A value as kubectl prints it: texts bare, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _step(match: re.Match[str], text: str) -> _Step:
    if match["name"] is not None:
        return _member(match["name"].replace("\\", ""))
    if match["key"] is not None:
        return _member(match["key"])
    if match["index"] is not None:
        return _slice(int(match["index"]), None)
    if match["start"] is not None:
        return _slice(int(match["start"] or 0), match["stop"])
    if match["deep"] is not None:
        return _descend(match["deep"])
    if match["filter"] is not None:
        return _keep(match["filter"], text)
    return _children


def _member(name: str) -> _Step:
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else []


def _slice(start: int, stop: str | None) -> _Step:
    def step(value: Any) -> list[Any]:
        if not isinstance(value, list):
            return []
        if stop is None:
            return [value[start]] if -len(value) <= start < len(value) else []
        return value[start : int(stop) if stop else None]

    return step


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _descend(name: str) -> _Step:
    def walk(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]
        for child in _children(value):
            yield from walk(child)

    return lambda value: list(walk(value))


def _keep(condition: str, text: str) -> _Step:
    match = _FILTER.match(condition.strip())
    if match is None:
        raise InvalidObject(f"the JSONPath {text!r} has a filter that cannot be read: {condition!r}")
    path = compile_path(match["path"] or ".")
    if match["operator"] is None:
        return lambda value: [item for item in _children(value) if path(item)]
    wanted, operator = _literal(match["value"], text), match["operator"]
    return lambda value: [item for item in _children(value) if any(_holds(one, operator, wanted) for one in path(item))]


def _literal(text: str, whole: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidObject(f"the JSONPath {whole!r} compares with {text}: put texts in quotes") from None


def _holds(one: Any, operator: str, wanted: Any) -> bool:
    if operator in ("==", "!="):
        return bool(one == wanted) is (operator == "==")
    numbers = all(isinstance(side, int | float) and not isinstance(side, bool) for side in (one, wanted))
    if not numbers and not (isinstance(one, str) and isinstance(wanted, str)):
        return False
    return bool({"<": one < wanted, "<=": one <= wanted, ">": one > wanted, ">=": one >= wanted}[operator])


def _split(template: str) -> list[tuple[bool, str]]:
    """Texts and expressions (True) of a template, in order."""
    parts: list[tuple[bool, str]] = []
    position = 0
    while position < len(template):
        opening = template.find("{", position)
        if opening < 0:
            opening = len(template)
        if opening > position:
            parts.append((False, template[position:opening]))
        if opening == len(template):
            break
        closing = _closing(template, opening)
        parts.append((True, template[opening + 1 : closing].strip()))
        position = closing + 1
    return parts


def _closing(template: str, opening: int) -> int:
    quote = ""
    for position in range(opening + 1, len(template)):
        letter = template[position]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "}":
            return position
    raise InvalidObject(f"the JSONPath {template!r} has an unclosed brace")


def _render(parts: Sequence[tuple[bool, str]], value: Any, root: Any) -> tuple[str, Sequence[tuple[bool, str]]]:
    """The text of `parts` up to their {end}, and what follows that."""
    text = ""
    while parts:
        (is_expression, content), parts = parts[0], parts[1:]
        if not is_expression:
            text += content
        elif content == "end":
            return text, [(True, "end"), *parts]
        elif content.startswith("range"):
            body = parts
            for item in compile_path(content.removeprefix("range").strip())(value) or [None]:
                rendered, parts = _render(body, item, root)
                text += rendered if item is not None else ""
            if not parts:
                raise InvalidObject("the JSONPath has a {range} without an {end}")
            parts = parts[1:]
        elif content[:1] in ("'", '"'):
            text += content[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape")
        else:
            source = root if content.startswith("$") else value
            path = compile_path(content.removeprefix("@") or ".")
            text += " ".join(as_text(found) for found in path(source))
    return text, []
