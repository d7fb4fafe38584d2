import contextlib

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.apiserver.protobuf import MAGIC, decode
from swarmkeep.errors import UserError

NAMESPACE_TYPE = b"\x0a\x0f\x0a\x02v1\x12\x09Namespace"


@given(st.binary(max_size=60), st.sampled_from([b"", MAGIC, MAGIC + NAMESPACE_TYPE, MAGIC + NAMESPACE_TYPE + b"\x12"]))
def test_hostile_bytes_give_an_object_or_a_user_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(UserError):
        assert decode(start + data)["kind"] == "Namespace"


@given(st.binary(max_size=60))
def test_hostile_bytes_within_a_known_kind(raw: bytes) -> None:
    with contextlib.suppress(UserError):
        assert decode(MAGIC + NAMESPACE_TYPE + b"\x12" + bytes([len(raw)]) + raw)["kind"] == "Namespace"
