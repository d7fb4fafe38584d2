"""Reads the few requests that newer kubectls send as Kubernetes protobuf, into the JSON form of the same object.

Called where a body has the content type application/vnd.kubernetes.protobuf: Namespaces and the access reviews. Bodies
are `k8s\\0`, then an Unknown message {1: TypeMeta {1: apiVersion, 2: kind}, 2: raw}. Field numbers are those of
Kubernetes' generated.proto files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from swarmkeep.errors import UserError

MAGIC = b"k8s\x00"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class UnsupportedMedia(UserError):
    """A well-formed request of a kind that is not read in this encoding; the same as JSON would be."""

    reason = "UnsupportedMediaType"


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    message: Mapping[int, _Field] | None = None
    """The fields of a nested message; None for a scalar."""
    form: str = "string"
    """string, integer, boolean, or map for map<string, string>."""
    repeated: bool = False


def _nested(name: str, message: Mapping[int, _Field], *, repeated: bool = False) -> _Field:
    return _Field(name, message, repeated=repeated)


_OBJECT_META: Mapping[int, _Field] = {
    1: _Field("name"),
    2: _Field("generateName"),
    3: _Field("namespace"),
    5: _Field("uid"),
    6: _Field("resourceVersion"),
    7: _Field("generation", form="integer"),
    11: _Field("labels", form="map"),
    12: _Field("annotations", form="map"),
    14: _Field("finalizers", repeated=True),
}

_RESOURCE_ATTRIBUTES: Mapping[int, _Field] = {
    1: _Field("namespace"),
    2: _Field("verb"),
    3: _Field("group"),
    4: _Field("version"),
    5: _Field("resource"),
    6: _Field("subresource"),
    7: _Field("name"),
}

_NON_RESOURCE_ATTRIBUTES: Mapping[int, _Field] = {1: _Field("path"), 2: _Field("verb")}

_ACCESS_SPEC: Mapping[int, _Field] = {
    1: _nested("resourceAttributes", _RESOURCE_ATTRIBUTES),
    2: _nested("nonResourceAttributes", _NON_RESOURCE_ATTRIBUTES),
}

_METADATA = _nested("metadata", _OBJECT_META)

_KINDS: Mapping[tuple[str, str], Mapping[int, _Field]] = {
    ("v1", "Namespace"): {1: _METADATA, 2: _nested("spec", {1: _Field("finalizers", repeated=True)})},
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): {1: _METADATA, 2: _nested("spec", _ACCESS_SPEC)},
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): {1: _METADATA, 2: _nested("spec", {1: _Field("namespace")})},
    ("authentication.k8s.io/v1", "SelfSubjectReview"): {1: _METADATA},
    ("meta.k8s.io/v1", "DeleteOptions"): {
        1: _Field("gracePeriodSeconds", form="integer"),
        2: _nested("preconditions", {1: _Field("uid"), 2: _Field("resourceVersion")}),
        3: _Field("orphanDependents", form="boolean"),
        4: _Field("propagationPolicy"),
        5: _Field("dryRun", repeated=True),
    },
}

_TYPE_META: Mapping[int, _Field] = {1: _Field("apiVersion"), 2: _Field("kind")}


def decode(body: bytes) -> dict[str, Any]:
    """The object as JSON would have it.

    Raises UnsupportedMedia for a kind that is not known here, UserError for bytes that are not of this form.
    """
    if not body.startswith(MAGIC):
        raise UserError("the body is not Kubernetes protobuf: it does not begin with k8s\\0")
    type_meta: dict[str, Any] = {}
    raw = b""
    for number, wire, value in _fields(body[len(MAGIC) :]):
        if number == 1 and wire == _BYTES:
            type_meta = _message(value, _TYPE_META)
        elif number == 2 and wire == _BYTES:
            raw = value
    api_version, kind = type_meta.get("apiVersion", ""), type_meta.get("kind", "")
    fields = _KINDS.get((api_version, kind)) or (_KINDS["meta.k8s.io/v1", kind] if kind == "DeleteOptions" else None)
    if fields is None:
        raise UnsupportedMedia(
            f"{kind or 'this kind'} in {api_version or 'no group'} is not read as protobuf: send JSON"
        )
    return {"apiVersion": api_version, "kind": kind, **_message(raw, fields)}


def _message(data: bytes, fields: Mapping[int, _Field]) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for number, wire, value in _fields(data):
        field = fields.get(number)
        if field is None:
            continue
        decoded = _value(field, wire, value)
        if field.form == "map":
            message.setdefault(field.name, {}).update(decoded)
        elif field.repeated:
            message.setdefault(field.name, []).append(decoded)
        elif field.message is not None or decoded != "":
            message[field.name] = decoded  # Kubernetes writes empty texts for fields that were not set
    return message


def _value(field: _Field, wire: int, value: Any) -> Any:
    if field.form in ("integer", "boolean"):
        if wire != _VARINT:
            raise UserError(f"malformed protobuf: {field.name} is no number")
        if field.form == "boolean":
            return bool(value)
        return value - (1 << 64) if value >= 1 << 63 else value
    if wire != _BYTES:
        raise UserError(f"malformed protobuf: {field.name} has wire type {wire}")
    if field.message is not None:
        return _message(value, field.message)
    if field.form == "map":
        entry = _message(value, {1: _Field("key"), 2: _Field("value")})
        return {entry.get("key", ""): entry.get("value", "")}
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"malformed protobuf: {field.name} is not UTF-8") from None


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field: an int, or the bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise UserError(f"malformed protobuf: wire type {wire}")
        if length > len(data) - at:
            raise UserError("malformed protobuf: a field is longer than its message")
        yield number, wire, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise UserError("malformed protobuf: it ends within a number")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & ((1 << 64) - 1), at
    raise UserError("malformed protobuf: a number has more than ten bytes")
