"""Which containers the agent is asked about, and what holds when it does not answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarmkeep.shim.labels import Container, Selector, matching, read_container, read_selectors, when_away

REDIS = Container(
    "redis.1.xyz",
    {"com.docker.swarm.service.name": "shop_redis", "com.docker.stack.namespace": "shop", "keep": "yes=1"},
    "",
)


def test_reads_what_the_agent_writes(tmp_path: Path) -> None:
    path = tmp_path / "selectors"
    path.write_text("service redis\tHold\t60\nlabel keep=a b\tFresh\t2.5\n")
    assert read_selectors(str(path)) == [
        Selector("service", "redis", True, 60.0),
        Selector("label", "keep=a b", False, 2.5),
    ]


def test_protects_nothing_without_a_file(tmp_path: Path) -> None:
    assert read_selectors(str(tmp_path / "selectors")) == []


@pytest.mark.parametrize("line", ["service redis", "service redis\tMaybe\tlong", "service redis\tHold\tinf\t"])
def test_holds_for_what_is_damaged(tmp_path: Path, line: str) -> None:
    path = tmp_path / "selectors"
    path.write_text(f"{line}\n")
    (selector,) = read_selectors(str(path))
    assert selector.hold
    assert 0 < selector.limit_s <= 3600


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("service", "shop_redis", True),
        ("service", "redis", False),
        ("stack", "shop", True),
        ("stack", "sho", False),
        ("container", "redis.1.xyz", True),
        ("container", "redis", False),
        ("label", "keep=yes=1", True),
        ("label", "keep=yes", False),
        ("label", "keep", True),
        ("galaxy", "far away", True),
    ],
)
def test_matches_by_service_stack_name_and_label_and_asks_about_what_it_does_not_know(
    kind: str, value: str, expected: bool
) -> None:
    assert bool(matching(REDIS, [Selector(kind, value, True, 1)])) is expected


def test_hold_wins_over_fresh_and_then_the_longest_limit() -> None:
    selectors = [
        Selector("label", "a=b", False, 90),
        Selector("stack", "shop", True, 5),
        Selector("service", "shop_redis", True, 20),
    ]
    assert when_away(selectors) == (True, 20)
    assert when_away(selectors[:1]) == (False, 90)


def test_reads_dockers_own_record(tmp_path: Path) -> None:
    folder = tmp_path / "containers" / "abc"
    folder.mkdir(parents=True)
    record = {"Name": "/redis", "Config": {"Labels": {"keep": "yes"}, "StopSignal": "SIGQUIT"}}
    (folder / "config.v2.json").write_text(json.dumps(record))
    assert read_container(str(tmp_path), "abc") == Container("redis", {"keep": "yes"}, "SIGQUIT")


def test_knows_no_container_that_docker_does_not_know(tmp_path: Path) -> None:
    assert read_container(str(tmp_path), "abc") is None


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_does_not_guess_when_a_record_is_damaged(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "containers" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text(text)
    with pytest.raises(ValueError, match="no JSON"):
        read_container(str(tmp_path), "abc")
