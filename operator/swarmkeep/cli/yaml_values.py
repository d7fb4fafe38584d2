"""YAML as kubectl reads it (YAML 1.1), safely: plain JSON values come out, or an error with the line.

Used by swarmkeep.cli.documents. Unlike kubectl, a key that stands in a mapping twice is an error, and so is a key that
YAML takes for a boolean; times stay texts, and 1:30 is no number.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import yaml

from swarmkeep.errors import InvalidObject

NODE_LIMIT = 200_000
"""Values in one document. Aliases can make a small file expand without end."""

_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}

_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"""[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$
       |[-+]?\.(?:inf|Inf|INF)$
       |\.(?:nan|NaN|NAN)$""",
    re.VERBOSE,
)

# libyaml's parser, where it is built in, is ten times faster.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_Base):  # type: ignore[misc]
    """Only for composing nodes; `Values` makes values of them."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own shape
        first: [entry for entry in entries if not entry[0].endswith((":timestamp", ":int", ":float"))]
        for first, entries in copy.deepcopy(yaml.SafeLoader.yaml_implicit_resolvers).items()
    }


Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


class Values:
    """Turns composed nodes into what JSON can say; everything else is refused with its line."""

    def __init__(self, origin: str, number: int) -> None:
        self._origin = origin
        self._number = number
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > NODE_LIMIT:
            raise self._error(node, f"the document has more than {NODE_LIMIT} values once its aliases are expanded")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise self._error(node, "an alias refers to what it stands in")
        self._open.add(id(node))
        try:
            return self._mapping(node) if isinstance(node, yaml.MappingNode) else self._sequence(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        self._expect(node, "map")
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = self._merge(value_node, merged)
                continue
            key = self._key(key_node)
            if key in own:
                raise self._error(key_node, f'the key "{key}" stands here a second time, first in line {lines[key]}')
            lines[key] = key_node.start_mark.line + 1
            own[key] = self.value(value_node)
        return {**merged, **own}

    def _merge(self, node: yaml.Node, before: dict[str, Any]) -> dict[str, Any]:
        """`<<: *defaults`: of several mappings the first to name a key wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            value = self.value(source)
            if not isinstance(value, dict):
                raise self._error(source, "<< needs a mapping")
            before = {**value, **before}
        return before

    def _sequence(self, node: yaml.Node) -> list[Any]:
        self._expect(node, "seq")
        return [self.value(item) for item in node.value]

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode):
            if node.tag.endswith((":str", ":int", ":float")):
                return str(node.value)
            if node.tag.endswith(":bool"):
                raise self._error(
                    node, f'YAML reads the key {node.value} as true or false: write "{node.value}" in quotes'
                )
        raise self._error(node, "a key must be a text")

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        try:
            if kind == "str":
                return text
            if kind == "null":
                return None
            if kind == "bool":
                return _BOOLEANS[text.lower()]
            if kind == "int":
                return _integer(text)
            if kind == "float" and text.lower().lstrip("+-") not in (".inf", ".nan"):
                return float(text.replace("_", ""))
        except (ValueError, KeyError):
            raise self._error(node, f"{text!r} is no {kind}") from None
        if kind == "float":
            raise self._error(node, f"{text} cannot be said in JSON")
        raise self._error(node, f"the tag {node.tag} is not allowed")

    def _expect(self, node: yaml.Node, kind: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            raise self._error(node, f"the tag {node.tag} is not allowed")

    def _error(self, node: yaml.Node, text: str) -> InvalidObject:
        document = f" (document {self._number})" if self._number > 1 else ""
        return InvalidObject(f"{self._origin}, line {node.start_mark.line + 1}{document}: {text}")


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)):
        if digits.startswith(prefix) and digits != "0":
            return sign * int(digits.removeprefix(prefix), base)
    return sign * int(digits)
