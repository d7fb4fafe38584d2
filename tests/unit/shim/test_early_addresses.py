"""Addresses that are lent to a network namespace before it has a network."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.shim.early_addresses import METRIC, lend, take_back

STEP_S = 0.02


@pytest.fixture
def namespace() -> Iterator[int]:
    """A process in a network namespace of its own."""
    own = Path("/proc/self/ns/net").readlink()
    process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    try:
        while Path(f"/proc/{process.pid}/ns/net").readlink() == own:
            assert process.poll() is None
            time.sleep(STEP_S)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def inside(pid: int, *words: str) -> str:
    done = subprocess.run(["nsenter", "-t", str(pid), "-n", *words], capture_output=True, text=True, check=True)
    return done.stdout


def run_hook(config: dict[str, Any], pid: int) -> int:
    """As an OCI runtime runs it."""
    (hook,) = config["hooks"]["createRuntime"]
    state = json.dumps({"ociVersion": "1.2.0", "id": "c1", "pid": pid, "bundle": "/b", "annotations": {"x": "pid"}})
    environment = dict(word.split("=", 1) for word in hook["env"])
    done = subprocess.run([hook["path"], *hook["args"][1:]], env=environment, input=state.encode(), check=False)
    return done.returncode


def test_what_is_lent_makes_peers_reachable_and_leaves_nothing_when_it_is_taken_back(
    namespace: int, tmp_path: Path
) -> None:
    config: dict[str, Any] = {"process": {}}
    lend(config, ["10.1.2.3", "fd00::3"])
    assert run_hook(config, namespace) == 0
    assert "10.1.2.3/32" in inside(namespace, "ip", "-4", "address")
    assert "fd00::3/128" in inside(namespace, "ip", "-6", "address")
    assert f"metric {METRIC}" in inside(namespace, "ip", "-4", "route")
    # Docker's own route comes beside it.
    inside(namespace, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    inside(namespace, "ip", "link", "set", "eth0", "up")
    inside(namespace, "ip", "address", "add", "10.1.2.3/24", "dev", "eth0")
    inside(namespace, "ip", "route", "add", "default", "via", "10.1.2.1")

    pid_file = tmp_path / "pid"
    pid_file.write_text(str(namespace))
    take_back(str(pid_file), ["10.1.2.3", "fd00::3"])
    assert "10.1.2.3/32" not in inside(namespace, "ip", "-4", "address")
    assert "fd00::3" not in inside(namespace, "ip", "-6", "address")
    assert inside(namespace, "ip", "-4", "route").split()[:3] == ["default", "via", "10.1.2.1"]
    assert str(METRIC) not in inside(namespace, "ip", "-4", "route") + inside(namespace, "ip", "-6", "route")


def test_hooks_of_others_stay(namespace: int) -> None:
    other = {"path": "/bin/true"}
    config: dict[str, Any] = {"hooks": {"prestart": [other], "createRuntime": [other]}}
    lend(config, ["10.1.2.3"])
    assert config["hooks"]["prestart"] == [other]
    assert config["hooks"]["createRuntime"][0] == other


def test_what_cannot_be_lent_fails_the_hook_and_with_it_the_restore(namespace: int) -> None:
    config: dict[str, Any] = {}
    lend(config, ["no address"])
    assert run_hook(config, namespace) != 0


@pytest.mark.parametrize("content", [None, "", "x", "4194304"])
def test_taking_back_from_nobody_does_no_harm(tmp_path: Path, content: str | None) -> None:
    pid_file = tmp_path / "pid"
    if content is not None:
        pid_file.write_text(content)
    take_back(str(pid_file), ["10.1.2.3"])
