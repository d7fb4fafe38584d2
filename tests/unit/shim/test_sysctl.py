"""A restored container gets the kernel parameters of its network, which CRIU leaves as the kernel has them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmkeep.shim import restore as module
from swarmkeep.shim import sysctl
from swarmkeep.shim.arguments import Call, parse_call
from swarmkeep.shim.restore import RestoreFailed, restore
from swarmkeep.shim.settings import Settings
from swarmkeep.shim.sysctl import network_parameters, set_parameters_command

ORDER = {"image": "/image", "lazy": False}


@pytest.fixture
def call(tmp_path: Path) -> Call:
    (tmp_path / "pid").write_text("4711")
    config = {"linux": {"sysctl": {"net.core.somaxconn": "1234", "net.ipv4.ip_local_port_range": "2000 3000"}}}
    (tmp_path / "bundle/config.json").write_text(json.dumps({"root": {"path": "rootfs"}, "mounts": [], **config}))
    return parse_call(["create", "--bundle", str(tmp_path / "bundle"), "--pid-file", str(tmp_path / "pid"), "abc"])


@pytest.fixture
def nsenter(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of nsenter that writes down its arguments, a line each, and then does `body`."""

    def put(body: str) -> None:
        program = tmp_path / "nsenter"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/entered\n{body}\n')
        program.chmod(0o755)
        monkeypatch.setattr(sysctl, "find_program", lambda _: str(program))
        monkeypatch.setattr(module, "find_program", lambda _: str(program))

    return put


def order(tmp_path: Path) -> dict[str, object]:
    return {**ORDER, "work": str(tmp_path / "run/restore/abc")}


def test_only_those_of_the_network_are_set() -> None:
    asked = {"net.ipv4.ping_group_range": "0 2147483647", "kernel.msgmax": "1", "net.ipv4.conf.eth0/1.forwarding": 1}
    assert network_parameters({"linux": {"sysctl": asked}}) == {
        "net/ipv4/ping_group_range": "0 2147483647",
        "net/ipv4/conf/eth0/1/forwarding": "1",
    }
    assert network_parameters({}) == {}
    assert network_parameters({"linux": {"sysctl": None}}) == {}


def test_they_are_set_in_the_network_of_the_restored_process(
    settings: Settings, call: Call, nsenter: Callable[[str], None], tmp_path: Path
) -> None:
    nsenter("exit 0")
    restore(call, settings, order(tmp_path))
    words = (tmp_path / "entered").read_text().splitlines()
    assert words[0] == "--net=/proc/4711/ns/net"
    assert words[-4:] == ["net/core/somaxconn", "1234", "net/ipv4/ip_local_port_range", "2000 3000"]


def test_a_parameter_that_cannot_be_set_fails_the_restore_and_says_why(
    settings: Settings, call: Call, nsenter: Callable[[str], None], tmp_path: Path
) -> None:
    nsenter("echo 'sysctl: permission denied' >&2; exit 1")
    with pytest.raises(RestoreFailed, match="permission denied"):
        restore(call, settings, order(tmp_path))
    assert "delete --force abc" in (tmp_path / "calls").read_text()


def test_the_program_writes_each_value_to_its_file_and_stops_at_the_first_that_fails(tmp_path: Path) -> None:
    words = set_parameters_command(1, {"a/b": "7 8"})
    script = words[words.index("-c") + 1]
    assert "/proc/sys/" in script
    (tmp_path / "a").mkdir()
    done = sysctl_script(script.replace("/proc/sys", str(tmp_path)), "a/b", "7 8", "missing/c", "1", "a/d", "9")
    assert done != 0
    assert (tmp_path / "a/b").read_text() == "7 8"
    assert not (tmp_path / "a/d").exists()


def sysctl_script(script: str, *words: str) -> int:
    return subprocess.run(["sh", "-c", script, "x", *words], capture_output=True, check=False).returncode
