r"""The part of JSONPath that printer columns use: `.a.b`, `['k']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`, `\.`.

Called by tables.py; a path is compiled once. A path that leads nowhere gives no values, it is no error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from swarmkeep.errors import InvalidObject

Step = Callable[[Any], Iterable[Any]]

_STEP = re.compile(
    r"""(?P<all>\[\s*\*\s*\]|\.\*)
      | \.(?P<field>(?:\\.|[^.\[\]\\])+)
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[\s*'(?P<quoted>[^']*)'\s*\]
      | \[\?\(\s*@(?P<path>[^=!<>]*?)\s*(?P<operator>==|!=)\s*(?P<literal>"[^"]*"|'[^']*'|[^)'"]+?)\s*\)\]""",
    re.VERBOSE,
)


def find(path: str, document: Any) -> list[Any]:
    """All values that `path` leads to, in order. Raises InvalidObject for a path that is not of the known form."""
    values = [document]
    for step in _compile(path):
        values = [found for value in values for found in step(value)]
    return values


@lru_cache(maxsize=512)
def _compile(path: str) -> tuple[Step, ...]:
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    steps: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if not match:
            raise InvalidObject(f"JSONPath {path!r} is not understood at {text[at:]!r}")
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["all"]:
        return _children
    if match["index"] is not None:
        return _item(int(match["index"]))
    if match["operator"]:
        return _filter(match["path"], match["operator"], _literal(match["literal"]))
    name = match["quoted"] if match["quoted"] is not None else re.sub(r"\\(.)", r"\1", match["field"])
    return _field(name)


def _field(name: str) -> Step:
    return lambda value: [value[name]] if isinstance(value, Mapping) and name in value else ()


def _item(index: int) -> Step:
    return lambda value: [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else ()


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _filter(path: str, operator: str, wanted: Any) -> Step:
    def step(value: Any) -> list[Any]:
        items = value if isinstance(value, list) else []
        return [item for item in items if any(map(same, find(path, item))) is (operator == "==")]

    def same(found: Any) -> bool:
        return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)

    return step


def _literal(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
