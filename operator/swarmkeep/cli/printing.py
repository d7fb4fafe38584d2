"""How objects and tables leave the command: aligned columns, YAML, JSON, names, JSONPath.

Colour and bold only on a terminal; piped output is what kubectl would print, for scripts that cut columns.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TextIO

import yaml

from swarmkeep.cli import jsonpath
from swarmkeep.errors import InvalidObject

MISSING = "<none>"


class Form(StrEnum):
    """The output formats of `-o`."""

    TABLE = ""
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"
    JSONPATH = "jsonpath"
    COLUMNS = "custom-columns"


@dataclass(frozen=True, slots=True)
class Format:
    """What -o asked for."""

    form: Form
    argument: str = ""

    @property
    def is_table(self) -> bool:
        """Whether the server computes what is printed."""
        return self.form in (Form.TABLE, Form.WIDE)

    @classmethod
    def parse(cls, text: str | None) -> Format:
        """Reads the value of -o. Raises InvalidObject listing what there is."""
        name, _, argument = (text or "").partition("=")
        if name == "jsonpath-as-json" or name not in list(Form):
            allowed = "wide, yaml, json, name, jsonpath=TEMPLATE, custom-columns=HEADER:PATH,..."
            raise InvalidObject(f"there is no output format {name!r}: allowed are {allowed}")
        form = Form(name)
        if (form in (Form.JSONPATH, Form.COLUMNS)) != bool(argument):
            wanted = "needs a template: " if not argument else "takes nothing: write "
            raise InvalidObject(f"output format {name} {wanted}-o {name}" + ("=..." if not argument else ""))
        return cls(form, argument)


@dataclass(slots=True)
class Columns:
    """Prints rows in aligned columns, keeping the widths from one call to the next."""

    headers: Sequence[str]
    show_headers: bool = True
    out: TextIO | None = None
    _widths: list[int] | None = None

    def print(self, rows: Sequence[Sequence[str]]) -> None:
        """Prints the rows, the headers above the first."""
        out = self.out or sys.stdout
        first, self._widths = self._widths is None, self._fit(rows)
        if first and self.show_headers:
            self._line(out, self.headers, is_header=True)
        for row in rows:
            self._line(out, row, is_header=False)
        out.flush()

    def _fit(self, rows: Sequence[Sequence[str]]) -> list[int]:
        widths = self._widths or [len(header) if self.show_headers else 0 for header in self.headers]
        return [max([width, *(len(row[column]) for row in rows)]) for column, width in enumerate(widths)]

    def _line(self, out: TextIO, cells: Sequence[str], *, is_header: bool) -> None:
        widths = self._widths or []
        padded = [cell.ljust(width + 3) for cell, width in zip(cells, widths, strict=True)]
        padded[-1] = cells[-1]
        if uses_colour(out):
            style = [_BOLD if is_header else _style(cell) for cell in cells]
            padded = [f"{code}{text}{_PLAIN}" if code else text for code, text in zip(style, padded, strict=True)]
        out.write("".join(padded).rstrip() + "\n")


def uses_colour(out: TextIO) -> bool:
    """Whether `out` is a terminal whose user did not ask for plain text (no-color.org)."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


_BOLD, _PLAIN, _RED, _GREEN, _YELLOW = "\033[1m", "\033[0m", "\033[31m", "\033[32m", "\033[33m"

GOOD = frozenset({"True", "Good", "Running", "Stored", "Restored", "Ready", "Normal", "Active"})
BAD = frozenset({"False", "Damaged", "Lost", "Failed", "Held", "Fenced", "Crashed", "OutOfMemory"})
PASSING = frozenset(
    {"Unknown", "Pending", "Restoring", "Dumping", "Storing", "Deleting", "Fresh", "Warning", "Terminating"}
)


def _style(cell: str) -> str:
    """The colour of a word that says how something is."""
    return _GREEN if cell in GOOD else _RED if cell in BAD else _YELLOW if cell in PASSING else ""


def cell_text(value: Any) -> str:
    """A table's cell as kubectl prints it: on one line, without control characters, nothing for nothing."""
    if value is None:
        return ""
    text = jsonpath.as_text(value)
    return "".join(letter if letter.isprintable() else " " for letter in text) if not text.isprintable() else text


def without_managed_fields(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object as people want to see it."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def as_list(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several objects as the one that kubectl prints them in."""
    return {"apiVersion": "v1", "items": list(objects), "kind": "List", "metadata": {"resourceVersion": ""}}


def to_yaml(value: Any) -> str:
    """As kubectl writes it, letter by letter: block style, keys sorted, long texts folded."""
    return str(yaml.dump(value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True))


_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_TEXT = "tag:yaml.org,2002:str"


class _Dumper(_BaseDumper):  # type: ignore[misc]
    """Texts of several lines as blocks, texts that would be read as something else in double quotes."""

    def represent_str(self, text: str) -> yaml.ScalarNode:
        node: yaml.ScalarNode = self.represent_scalar(_TEXT, text)
        if "\n" in text:
            node.style = "|"
        elif self.resolve(yaml.ScalarNode, text, (True, False)) != _TEXT:
            node.style = '"'
        return node

    def ignore_aliases(self, _: Any) -> bool:
        return True


_Dumper.add_representer(str, _Dumper.represent_str)


def to_json(value: Any) -> str:
    """Indented by four, as kubectl does."""
    return json.dumps(value, indent=4, ensure_ascii=False, sort_keys=True) + "\n"


def render_objects(value: Mapping[str, Any], form: Format, titles: Sequence[str]) -> str:
    """An object, or a List of them, in a form that is no table; `titles` are their `kind/name`.

    Raises InvalidObject for a template that cannot be read.
    """
    if form.form is Form.YAML:
        return to_yaml(value)
    if form.form is Form.JSON:
        return to_json(value)
    if form.form is Form.NAME:
        return "".join(f"{title}\n" for title in titles)
    if form.form is Form.JSONPATH:
        return jsonpath.render(form.argument, value)
    raise AssertionError(f"{form.form} is a table")


def custom_columns(argument: str) -> tuple[list[str], list[jsonpath.Path]]:
    """Headers and paths of `NAME:.metadata.name,NODE:.status.claim.node`. Raises InvalidObject."""
    headers, paths = [], []
    for column in argument.split(","):
        header, colon, path = column.partition(":")
        if not (header and colon and path):
            raise InvalidObject(f"custom-columns: {column!r} is not of the form HEADER:PATH")
        headers.append(header)
        paths.append(jsonpath.compile_path(path))
    return headers, paths
