"""Objects as bytes in etcd. The resourceVersion is not among them: it is the key's mod revision, put in when read.

Called by store.py and hub.py. Stored bytes begin with apiVersion, kind and metadata in this order, so that the version
can be put in without decoding: a list of thousands of objects costs little more than copying.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Obj = dict[str, Any]

_METADATA = b',"metadata":{'
_FIRST = ("apiVersion", "kind", "metadata")


def encode(obj: Mapping[str, Any]) -> bytes:
    """The bytes to store. Equal objects may differ in the order of fields; the metadata must not be empty."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    ordered = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    ordered.update((name, value) for name, value in obj.items() if name not in _FIRST)
    return dump(ordered)


def dump(value: Any) -> bytes:
    """Compact JSON. Raises ValueError for numbers that JSON does not have, and for texts that are not Unicode."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode(raw: bytes, revision: int) -> Obj:
    """The object with its resourceVersion."""
    obj: Obj = json.loads(raw)
    obj["metadata"]["resourceVersion"] = str(revision)
    return obj


def stamp(raw: bytes, revision: int) -> bytes:
    """The object's JSON with its resourceVersion."""
    # apiVersion and kind are plain words: the first match cannot be inside of them.
    at = raw.index(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (raw[:at], revision, raw[at:])
