"""What a client sends and wants back: content types of bodies, and the forms that an answer can have."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

import yaml

from swarmkeep.apiserver import protobuf
from swarmkeep.apiserver.status_errors import bad_request, unsupported_media
from swarmkeep.apiserver.tables import Include

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_JSON_TYPES = frozenset({"", JSON, MERGE_PATCH, JSON_PATCH, STRATEGIC_PATCH, "text/plain", "application/octet-stream"})
_YAML_TYPES = frozenset({YAML, APPLY_PATCH, "application/apply-patch+json"})


class Form(StrEnum):
    """How objects are shown."""

    OBJECT = "Object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client asked for."""

    form: Form = Form.OBJECT
    include: Include = "Metadata"
    """For a table: what of each object goes along."""


def wanted(accept: str, include_object: str) -> Wanted:
    """The first form of an Accept header that is served; JSON of the whole object if none is named."""
    for option in accept.split(","):
        media, *rest = (part.strip() for part in option.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        if media not in (JSON, "*/*", "application/*"):
            continue
        as_ = parameters.get("as", "")
        if as_ == "Table" and parameters.get("v", "v1") == "v1":
            return Wanted(Form.TABLE, _include(include_object))
        if as_ in ("PartialObjectMetadata", "PartialObjectMetadataList") and parameters.get("v", "v1") == "v1":
            return Wanted(Form.METADATA)
        if not as_:
            return Wanted()
    return Wanted()


def decode_body(content_type: str, body: bytes) -> Any:
    """The decoded body. Raises StatusError 415 for a content type that is not read, 400 for a body that is none."""
    if content_type in _JSON_TYPES:
        return _json(body)
    if content_type in _YAML_TYPES:
        return _yaml(body)
    if content_type == PROTOBUF:
        return protobuf.decode(body)
    raise unsupported_media(content_type, (JSON, YAML, PROTOBUF))


def _include(text: str) -> Include:
    match text:
        case "" | "Metadata":
            return "Metadata"
        case "Object":
            return "Object"
        case "None":
            return "None"
    raise bad_request(f'Invalid value: "{text}": includeObject must be Metadata, Object or None')


def _json(body: bytes) -> Any:
    try:
        return _load_json(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body of the request is not JSON: {_printable(error)}") from None


def _load_json(body: bytes) -> Any:
    decoded = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant, parse_float=_finite)
    if b"\\ud" in body.lower():
        # Half of a surrogate pair, which only an escape can smuggle in, could never be written again.
        json.dumps(decoded, ensure_ascii=False).encode()
    return decoded


def _yaml(body: bytes) -> Any:
    try:
        return _load_json(body)
    except (ValueError, RecursionError):
        pass
    try:
        decoded = yaml.load(body, _PlainLoader)  # noqa: S506 - a safe loader, see below
        # Times and the like, which YAML knows and JSON does not, must not get further.
        json.dumps(decoded, allow_nan=False, ensure_ascii=False).encode()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise bad_request(f"the body of the request is not YAML that could be JSON: {_printable(error)}") from None
    return decoded


def _printable(error: Exception) -> str:
    return str(error).encode("ascii", "backslashreplace").decode()


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


class _PlainLoader(yaml.SafeLoader):
    """Reads what JSON could say: no aliases, with which a few lines would become gigabytes, and no dates."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As PyYAML's, without aliases."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not accepted")
        return super().compose_node(parent, index)


_PlainLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
