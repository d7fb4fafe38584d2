"""Names of workloads and versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.errors import InvalidObject
from swarmkeep.model.ident import (
    _DNS_NAME,
    Ref,
    checkpoint_name,
    object_name,
    parse_checkpoint_name,
    service_stem,
    slot_workload_name,
)


@pytest.mark.parametrize(
    ("service", "stack", "namespace", "stem"),
    [
        ("redis", None, "default", "redis"),
        ("shop_redis", "shop", "shop", "redis"),
        ("shop_My_DB", "shop", "shop", "my-db-ad2f7a"),
    ],
)
def test_a_service_gets_a_readable_stem(service: str, stack: str | None, namespace: str, stem: str) -> None:
    assert service_stem(service, stack, namespace).rsplit("-", 1)[0] == stem.rsplit("-", 1)[0]


def test_two_services_never_share_a_name() -> None:
    assert object_name("shop_redis") != object_name("shop-redis")


@given(st.text(min_size=1, max_size=80))
def test_every_docker_name_becomes_a_valid_object_name(text: str) -> None:
    name = object_name(text)
    assert _DNS_NAME.fullmatch(name)
    assert object_name(name) == name


@given(st.integers(1, 10**8))
def test_checkpoint_names_are_read_back(number: int) -> None:
    assert parse_checkpoint_name(checkpoint_name("redis-v2.1", number)) == ("redis-v2.1", number)


def test_a_name_that_a_user_chose_is_no_version() -> None:
    assert parse_checkpoint_name("before-upgrade") is None


def test_slots_count_from_the_stem() -> None:
    assert slot_workload_name("redis", 1) == "redis.1"


@pytest.mark.parametrize("text", ["", "a", "/a", "a/", "a/b/c"])
def test_a_ref_needs_both_parts(text: str) -> None:
    with pytest.raises(InvalidObject):
        Ref.parse(text)
