"""Scalars, keys and merges as kubectl reads them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from swarmkeep.cli.yaml_values import Loader, Values


def read(text: str) -> Any:
    node = yaml.compose(text, Loader)
    assert node is not None
    return Values("x.yaml", 1).value(node)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30s", "30s"),
        ("12", 12),
        ("-0x1F", -31),
        ("0o17", 15),
        ("017", 15),
        ("0b11", 3),
        ("1_000", 1000),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1:30", "1:30"),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("yes", True),
        ("Off", False),
        ("'yes'", "yes"),
        ("~", None),
        ("", None),
        ("1.2.3", "1.2.3"),
        ("08", 8.0),
        ("!!str 12", "12"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    result = read(f"a: {text}")["a"]
    assert (result, type(result)) == (value, type(value))


def test_numbers_as_keys_are_texts() -> None:
    assert read("{1: a, 2.5: b}") == {"1": "a", "2.5": "b"}


def test_what_is_merged_is_overridden_by_what_stands_there() -> None:
    assert read("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}")["c"] == {"x": 3, "y": 1, "z": 2}


def test_an_alias_may_stand_several_times() -> None:
    assert read("a: &a [1]\nb: [*a, *a]")["b"] == [[1], [1]]
