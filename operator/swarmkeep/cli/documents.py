"""YAML and JSON files with objects in them, with the line of every field kept for errors.

Used by apply, diff and delete.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from swarmkeep.cli.yaml_values import Loader, Values
from swarmkeep.errors import InvalidObject

EXTENSIONS = (".yaml", ".yml", ".json")
"""What is read of a folder, as kubectl does."""

_FIELD = re.compile(r"\[(?P<bracket>[^\]]*)\]|(?P<name>[^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Document:
    """One object out of a file."""

    origin: str
    """The file, or `standard input`."""
    number: int
    """Which document of the file, from 1."""
    body: dict[str, Any]
    node: yaml.Node = field(repr=False)

    @property
    def place(self) -> str:
        """Where it begins, for a person: `policy.yaml, line 12`."""
        return f"{self.origin}, line {self.node.start_mark.line + 1}"

    def line_of(self, path: str) -> int:
        """The line (from 1) of the field `spec.schedule.every`, or of the deepest field above it that is there."""
        node, line = self.node, self.node.start_mark.line
        for match in _FIELD.finditer(path):
            step = match["name"] if match["name"] is not None else match["bracket"].strip("\"'")
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return line + 1


def read_documents(paths: Iterable[str], *, recursive: bool) -> list[Document]:
    """All objects in files, folders and, for `-`, standard input; items of a List one by one.

    Nothing is returned unless everything could be read. Raises InvalidObject naming file, line and field.
    """
    documents = [document for path in paths for document in _read(path, recursive)]
    if not documents:
        raise InvalidObject("no objects were found in what -f names")
    return documents


def parse_documents(text: str, origin: str) -> list[Document]:
    """Like `read_documents` for a text; empty documents are passed over."""
    found = []
    try:
        for number, node in enumerate(yaml.compose_all(text, Loader), start=1):
            if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
                continue
            body = Values(origin, number).value(node)
            found += _objects(origin, number, node, body)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidObject(f"{origin}, line {line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidObject(
            f"{origin} is not YAML: {str(error).splitlines()[0] if str(error) else 'too deep'}"
        ) from None
    return found


def _read(path: str, recursive: bool) -> Iterator[Document]:
    if path == "-":
        yield from parse_documents(_decode(sys.stdin.buffer.read(), "standard input"), "standard input")
        return
    for file in _files(Path(path), recursive):
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise InvalidObject(f"cannot read {file}: {error.strerror}") from None
        yield from parse_documents(_decode(raw, str(file)), str(file))


def _files(path: Path, recursive: bool) -> list[Path]:
    if not path.exists():
        raise InvalidObject(f'the path "{path}" does not exist')
    if not path.is_dir():
        return [path]
    entries = path.rglob("*") if recursive else path.iterdir()
    found = sorted(entry for entry in entries if entry.suffix in EXTENSIONS and entry.is_file())
    if not found:
        deeper = "" if recursive else "; -R looks in its folders, too"
        raise InvalidObject(f"the folder {path} has no {', '.join(EXTENSIONS)} files{deeper}")
    return found


def _decode(raw: bytes, origin: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidObject(f"{origin} is not UTF-8 text (byte {error.start})") from None


def _objects(origin: str, number: int, node: yaml.Node, body: Any) -> list[Document]:
    where = f"{origin}, line {node.start_mark.line + 1}"
    if not isinstance(body, dict):
        raise InvalidObject(f"{where}: an object is a mapping with apiVersion, kind and metadata, not {_kind_of(body)}")
    if body.get("kind") == "List" and body.get("apiVersion") == "v1":
        items = body.get("items") or []
        nodes = _child(node, "items")
        if not isinstance(items, list):
            raise InvalidObject(f"{where}: items of a List must be a list")
        pairs = zip(nodes[1].value, items, strict=True) if nodes and items else ()
        return [found for item_node, item in pairs for found in _objects(origin, number, item_node, item)]
    for name in ("apiVersion", "kind"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise InvalidObject(f"{where}: {name} not set")
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise InvalidObject(f"{where}: metadata.name of the {body['kind']} must be a text")
    if not isinstance(metadata.get("namespace") or "", str):
        raise InvalidObject(f"{where}: metadata.namespace of the {body['kind']} must be a text")
    return [Document(origin, number, body, node)]


def _kind_of(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}.get(type(value), "a number")


def _child(node: yaml.Node, step: str) -> tuple[int, yaml.Node] | None:
    """Line (from 0) and value of a mapping's key or a list's index."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        item = node.value[int(step)]
        return item.start_mark.line, item
    return None
