"""Reads /etc/swarmkeep/config.yaml into the settings' dataclasses; unknown names are refused with a suggestion."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from swarmkeep.config.settings import Address, Config
from swarmkeep.errors import InvalidObject
from swarmkeep.model.quantity import parse_duration, parse_quantity


def load_config(path: Path) -> Config:
    """The settings in `path`; what it does not name has its default. Raises InvalidObject naming file and field."""
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InvalidObject(f"cannot read the settings in {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidObject(f"{path} is not YAML: {error}") from None
    return read_config({} if document is None else document, str(path))


def read_config(document: Any, origin: str) -> Config:
    """Like `load_config` for a decoded document; `origin` names it in errors."""
    config: Config = _read_section(Config, document, origin, "")
    return config


def _wire_name(name: str) -> str:
    """The name in the file: `lease_duration` -> `leaseDuration`; `ca`, `ttl` inside a name are written in capitals."""
    head, *rest = name.split("_")
    return head + "".join(word.upper() if word in ("ca", "ttl") else word.capitalize() for word in rest)


def _read_section(cls: type, document: Any, origin: str, path: str) -> Any:
    if not isinstance(document, Mapping):
        raise InvalidObject(f"{origin}: {path or 'the document'} must be a mapping, not {type(document).__name__}")
    hints = get_type_hints(cls)
    fields = {_wire_name(field.name): field.name for field in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for key, value in document.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            raise InvalidObject(f"{origin}: unknown setting {where}" + (f", did you mean {near[0]}?" if near else ""))
        values[fields[key]] = _read_value(hints[fields[key]], value, origin, where)
    try:
        return cls(**values)
    except InvalidObject as error:
        raise InvalidObject(f"{origin}: {error}") from None


def _read_value(hint: Any, value: Any, origin: str, where: str) -> Any:
    if get_origin(hint) in (Union, UnionType):
        if value is None:
            return None
        hint = next(option for option in get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint) and hint is not Address and isinstance(hint, type):
        return _read_section(hint, value, origin, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InvalidObject(f"{origin}: {where} must be a list of texts")
        return tuple(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise InvalidObject(f"{origin}: {where} must be a text, not {type(value).__name__}")
    try:
        if hint is timedelta:
            return parse_duration(value)
        if hint is int:
            return parse_quantity(value)
        if hint is Address:
            return _parse_address(value)
    except InvalidObject as error:
        raise InvalidObject(f"{origin}: {where}: {error}") from None
    return Path(value) if hint is Path else value


def _parse_address(text: str) -> Address:
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<host>[^:\s]+)):(?P<port>\d{1,5})", text)
    if not match or int(match["port"]) > 65535:
        raise InvalidObject(f"{text!r} is no address: write host:port, for example 127.0.0.1:9641 or [::1]:9641")
    return Address(match["v6"] or match["host"], int(match["port"]))
