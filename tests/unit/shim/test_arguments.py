"""The command line is understood in every shape that a caller may give it."""

from __future__ import annotations

import pytest

from swarmkeep.shim.arguments import parse_call

DOCKER_CREATE = [
    *("--root", "/var/run/docker/runtime-runc/moby", "--log", "/b/log.json", "--log-format", "json"),
    *("--systemd-cgroup", "create", "--bundle", "/b", "--pid-file", "/b/init.pid", "--console-socket", "/c", "abc"),
]


def test_reads_what_containerd_says() -> None:
    call = parse_call(DOCKER_CREATE)
    assert (call.command, call.container_id, call.bundle) == ("create", "abc", "/b")
    assert call.root == "/var/run/docker/runtime-runc/moby"
    assert call.options["log"] == "/b/log.json"
    assert call.options["pid-file"] == "/b/init.pid"
    assert call.options["console-socket"] == "/c"
    assert call.options["systemd-cgroup"] == "true"


@pytest.mark.parametrize(
    "words",
    [
        ["--root=/r", "create", "--bundle=/b", "abc"],
        ["-root", "/r", "create", "-bundle", "/b", "abc"],
        ["--root", "/r", "create", "-b", "/b", "abc"],
        ["--root", "/r", "create", "abc", "--bundle", "/b"],
        ["--debug", "--root", "/r", "create", "--no-pivot", "--bundle", "/b", "--", "abc"],
    ],
)
def test_knows_all_ways_to_write_an_option(words: list[str]) -> None:
    call = parse_call(words)
    assert (call.command, call.container_id, call.bundle, call.root) == ("create", "abc", "/b", "/r")


def test_takes_the_value_of_an_option_for_no_command() -> None:
    assert parse_call(["--log", "create", "state", "abc"]).command == "state"


def test_takes_the_working_directory_for_a_bundle_that_nobody_names() -> None:
    assert parse_call(["create", "abc"]).bundle == "."


def test_reads_the_signal_behind_the_container() -> None:
    assert parse_call(["--root", "/r", "kill", "abc", "15"]).operands == ("abc", "15")


@pytest.mark.parametrize("words", [[], ["--version"], ["--log"], ["-"], ["--", "create"], ["create"]])
def test_survives_what_makes_no_sense(words: list[str]) -> None:
    call = parse_call(words)
    assert call.words == tuple(words)
    assert call.container_id == ""
