"""Reads label selectors and field selectors, as `-l` and `--field-selector` send them.

Called by list, watch and deletecollection. A parsed selector is a function of the labels or of the object. Grammar and
error texts follow Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from swarmkeep.apiserver.object_meta import label_key_problem, label_value_problem
from swarmkeep.apiserver.resources import Resource
from swarmkeep.errors import UserError

LabelSelector = Callable[[Mapping[str, str]], bool]

_TOKEN = re.compile(r"\s*(==|=|!=|!|<|>|\(|\)|,|[^\s=!<>(),]+)", re.ASCII)
_PUNCTUATION = frozenset({"==", "=", "!=", "!", "<", ">", "(", ")", ","})
_SETS = frozenset({"in", "notin"})
_ALIASES = {"source": "source.component"}
"""Kubernetes lets events be selected by `source`, meaning a field within it."""


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One term of a label selector."""

    key: str
    operator: str
    """in, notin, exists, !, > or <; equality is `in` with one value."""
    values: frozenset[str] = frozenset()

    def __call__(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        number, bound = _integer(value), int(next(iter(self.values)))
        return number is not None and (number > bound if self.operator == ">" else number < bound)


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Terms that all must hold; calling it with an object says whether they do."""

    equal: Mapping[str, str]
    """Path and wanted text. A caller can read one object instead of all if `metadata.name` is here."""
    unequal: tuple[tuple[str, str], ...]
    impossible: bool = False
    """Two terms want different values of one field."""

    def __call__(self, obj: Mapping[str, Any]) -> bool:
        return (
            not self.impossible
            and all(_field_text(obj, path) == value for path, value in self.equal.items())
            and all(_field_text(obj, path) != value for path, value in self.unequal)
        )


def parse_label_selector(text: str) -> LabelSelector:
    """The selector as a function of an object's labels; an empty text selects everything. Raises UserError."""
    requirements = list(_label_requirements(_Tokens(text)))
    return lambda labels: all(requirement(labels) for requirement in requirements)


def parse_field_selector(text: str, resource: Resource) -> FieldSelector:
    """The selector as a function of an object; an empty text selects everything. Raises UserError.

    Possible are metadata.name, metadata.namespace and the kind's selectable fields, with =, == and !=. Empty terms are
    accepted: kr8s ends its selectors with a comma.
    """
    equal: dict[str, str] = {}
    unequal: list[tuple[str, str]] = []
    impossible = False
    for term in _split_unescaped(text):
        if not term.strip():
            continue
        match = re.fullmatch(r"([^=!\\]+)(==|!=|=)(.*)", term, re.DOTALL)
        if not match:
            raise UserError(f"invalid selector: '{term}'; can't understand '{term}'")
        path, operator, value = match[1].strip(), match[2], _unescape(match[3], term)
        if path not in ("metadata.name", "metadata.namespace", *resource.selectable_fields):
            raise UserError(f"field label not supported: {path}")
        if operator == "!=":
            unequal.append((path, value))
        else:
            impossible |= equal.setdefault(path, value) != value
    return FieldSelector(equal, tuple(unequal), impossible)


class _Tokens:
    """The words and signs of a label selector, one after the other."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens: list[str] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at, end)
            if not match:
                raise self.error(f"unexpected {text[at:]!r}")
            self._tokens.append(match[1])
            at = match.end()
        self._next = 0

    def peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._next += 1
        return token

    def word(self) -> str:
        """The next token if it is a word; otherwise nothing is taken and the word is empty."""
        return "" if self.peek() in _PUNCTUATION else self.take()

    def expect(self, token: str) -> None:
        if self.peek() != token:
            raise self.error(f"found '{self.peek()}', expected: '{token}'")
        self.take()

    def error(self, problem: str) -> UserError:
        return UserError(f"unable to parse label selector {self.text!r}: {problem}")


def _label_requirements(tokens: _Tokens) -> Iterator[LabelRequirement]:
    if not tokens.peek():
        return
    while True:
        yield _label_requirement(tokens)
        if not tokens.peek():
            return
        tokens.expect(",")
        if not tokens.peek():
            raise tokens.error("found '', expected: identifier after ','")


def _label_requirement(tokens: _Tokens) -> LabelRequirement:
    negated = tokens.peek() == "!"
    if negated:
        tokens.take()
    key = tokens.word()
    if problem := label_key_problem(key):
        raise tokens.error(f"key {key!r}: {problem}")
    if negated:
        return LabelRequirement(key, "!")
    operator = tokens.peek()
    if operator in ("", ","):
        return LabelRequirement(key, "exists")
    tokens.take()
    if operator in _SETS:
        return LabelRequirement(key, operator, _value_set(tokens))
    if operator in ("=", "==", "!="):
        return LabelRequirement(key, "notin" if operator == "!=" else "in", frozenset({_value(tokens)}))
    if operator in ("<", ">"):
        bound = tokens.word()
        if _integer(bound) is None:
            raise tokens.error(f"for '{operator}' the value must be an integer, found {bound!r}")
        return LabelRequirement(key, operator, frozenset({bound}))
    raise tokens.error(f"found '{operator}', expected: in, notin, =, ==, !=, <, >")


def _value_set(tokens: _Tokens) -> frozenset[str]:
    tokens.expect("(")
    values = {_value(tokens)}
    while tokens.peek() == ",":
        tokens.take()
        values.add(_value(tokens))
    tokens.expect(")")
    return frozenset(values)


def _value(tokens: _Tokens) -> str:
    value = tokens.word()
    if problem := label_value_problem(value):
        raise tokens.error(f"value {value!r}: {problem}")
    return value


def _integer(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?[0-9]{1,18}", text) else None


def _split_unescaped(text: str) -> list[str]:
    """At commas, except where a backslash stands before one."""
    return re.findall(r"((?:\\.|[^\\,]|\\$)*)(?:,|$)", text, re.DOTALL)


def _unescape(value: str, term: str) -> str:
    if re.search(r"(?<!\\)(?:\\\\)*[=]", value) or re.search(r"\\(?![\\,=])", value.replace("\\\\", "")):
        raise UserError(
            f"invalid selector: '{term}'; in a value '\\', ',' and '=' have to be written with a '\\' before"
        )
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)


def _field_text(obj: Mapping[str, Any], path: str) -> str:
    value: Any = obj
    for name in _ALIASES.get(path, path).split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
