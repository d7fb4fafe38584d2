import pytest

from swarmkeep.apiserver.protobuf import MAGIC, UnsupportedMedia, decode
from swarmkeep.errors import UserError


def field(number: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, raw) + field(3, "") + field(4, "")


def test_a_namespace_as_kubectl_create_sends_it() -> None:
    metadata = field(1, "shop") + field(2, "") + field(7, 0) + field(8, b"") + field(11, field(1, "a") + field(2, "b"))
    body = envelope("v1", "Namespace", field(1, metadata) + field(2, b"") + field(3, field(1, "")))
    assert decode(body) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "generation": 0, "labels": {"a": "b"}},
        "spec": {},
    }


def test_an_access_review_as_kubectl_auth_sends_it() -> None:
    attributes = field(2, "get") + field(3, "swarmkeep.dev") + field(5, "workloads")
    body = envelope("authorization.k8s.io/v1", "SelfSubjectAccessReview", field(2, field(1, attributes)))
    assert decode(body)["spec"] == {
        "resourceAttributes": {"verb": "get", "group": "swarmkeep.dev", "resource": "workloads"}
    }


def test_repeated_fields_and_negative_numbers() -> None:
    raw = field(1, (1 << 64) - 1) + field(3, 1) + field(5, "All")
    assert decode(envelope("v1", "DeleteOptions", raw)) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": -1,
        "orphanDependents": True,
        "dryRun": ["All"],
    }


def test_other_kinds_are_told_to_come_as_json() -> None:
    with pytest.raises(UnsupportedMedia, match="Pod in v1 is not read as protobuf: send JSON"):
        decode(envelope("v1", "Pod", b""))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        MAGIC + b"\xff" * 11,
        MAGIC + field(1, "x")[:-1] + b"",
        MAGIC + b"\x0b",
        envelope("v1", "Namespace", b"\x0a\x05ab"),
        envelope("v1", "Namespace", field(1, field(1, 5))),
        envelope("v1", "Namespace", field(1, field(1, b"\xff"))),
        envelope("v1", "DeleteOptions", field(1, "x")),
    ],
)
def test_malformed_bytes_are_a_bad_request(body: bytes) -> None:
    with pytest.raises(UserError):
        decode(body)
