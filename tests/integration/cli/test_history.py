"""`swarmkeep history` as a user types it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from .conftest import COMMAND_S, Cli

pytestmark = pytest.mark.etcd

API = "swarmkeep.dev/v1alpha1"


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def set_status(cli: Cli, kind: str, name: str, **status: Any) -> None:
    cli.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def failover(cli: Cli) -> None:
    """Versions on n1, the loss of it, a restore on n2 and a version there; an event, and another workload."""
    spec = {"policy": "redis", "type": "ReplicatedTask", "service": {"id": "s1", "name": "redis"}}
    names = {"redis.1-v1": 7200, "redis.1-v2": 7100, "redis.1-v3": 60, "redis.2-v1": 50}
    workloads = [
        {"apiVersion": API, "kind": "Workload", "metadata": {"name": f"redis.{slot}"}, "spec": {**spec, "slot": slot}}
        for slot in (1, 2)
    ]
    checkpoints = [
        {
            "apiVersion": API,
            "kind": "Checkpoint",
            "metadata": {"name": name},
            "spec": {"workload": name.partition("-")[0], "reason": "Schedule"},
        }
        for name in names
    ]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "redis.1.lost"},
        "involvedObject": {"apiVersion": API, "kind": "Workload", "name": "redis.1", "namespace": cli.namespace},
        "type": "Warning",
        "reason": "NodeLost",
        "message": "n1 is lost",
        "source": {"component": "swarmkeep-operator", "host": "m1"},
        "lastTimestamp": datetime.fromisoformat(ago(120)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    cli.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all([*workloads, *checkpoints, event]))
    for name, age_s in names.items():
        number, node = int(name[-1]), "n2" if age_s < 100 else "n1"
        status = {"phase": "Stored", "version": number, "node": node, "takenAt": ago(age_s), "frozenSeconds": 0.21}
        set_status(cli, "ckpt", name, **status)
    start = {"how": "Restored", "reason": "NodeLoss", "version": 2, "seconds": 1.5, "node": "n2", "at": ago(100)}
    claim = {"node": "n2", "epoch": 2}
    end = {"how": "NodeLoss", "at": ago(110)}
    set_status(cli, "wl", "redis.1", phase="Running", claim=claim, lastStart=start, lastEnd=end)


def test_the_story_is_one_row_for_each_moment_when_piped(cli: Cli) -> None:
    failover(cli)
    lines = cli.run("history", "redis.1", "--since", "3h").splitlines()
    assert lines[0].split() == ["TIME", "NODE", "WHAT", "VERSION", "FROZEN", "REASON", "MESSAGE"]
    told = [line.split()[1:3] for line in lines[1:]]
    assert [words for words in told if "Version" in words] == [["n1", "Version"], ["n1", "Version"], ["n2", "Version"]]
    text = "\n".join(lines)
    assert "from version 2 in 1.50 s after NodeLoss" in text
    assert "n1 is lost" in text
    assert "from n1 to n2" in text
    assert "redis.2" not in text


def test_programs_get_the_same_and_since_cuts_it(cli: Cli) -> None:
    failover(cli)
    whole = json.loads(cli.run("history", "wl/redis.1", "-o", "json"))
    assert (whole["workload"], whole["namespace"]) == ("redis.1", cli.namespace)
    assert [moment["what"] for moment in whole["moments"]] == [
        *("Version", "Version", "Event", "Ended", "Moved", "Restored", "Version", "Selected"),
    ]
    assert [stay["node"] for stay in whole["stays"]] == ["n1", "n2"]
    recent = yaml.safe_load(cli.run("history", "redis.1", "-o", "yaml", "--since", "80s"))
    assert [moment["what"] for moment in recent["moments"]] == ["Version", "Selected"]


def test_a_terminal_gets_a_lane_for_each_node(cli: Cli) -> None:
    failover(cli)
    leader, follower = pty.openpty()
    environment = {**cli.environment, "COLUMNS": "70", "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(
        cli.command("history", "redis.1", "--since", "150s"), stdout=follower, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # what the kernel answers when the other side is closed
                break
            if not piece:
                break
            shown += piece
        assert process.wait(COMMAND_S) == 0
    os.close(leader)
    lines = shown.decode().replace("\r", "").splitlines()
    assert lines[0].startswith("n1  ──")
    assert "■" in lines[0]
    assert lines[1].startswith("n2 ")
    assert lines[1].index("▲") < lines[1].index("●")
    assert all(len(line) <= 70 for line in lines)


def test_wrong_questions_are_answered(cli: Cli) -> None:
    assert "not found" in cli.complaint("history", "redis.9", code=1)
    failover(cli)
    assert "is no duration" in cli.complaint("history", "redis.1", "--since", "ages", code=2)
