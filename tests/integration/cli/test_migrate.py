"""`swarmkeep migrate` as a user types it; the test is the operator."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from .conftest import COMMAND_S, Cli
from .test_prune import obj, workload

pytestmark = pytest.mark.etcd

ROUND = {"number": 1, "checkpoint": "c", "startedAt": "2026-01-31T12:00:00Z", "version": 7, "bytes": 2048}


def migrations(cli: Cli) -> list[dict[str, Any]]:
    return list(json.loads(cli.run("get", "mig", "-o", "json"))["items"])


def begin(cli: Cli, *options: str) -> subprocess.Popen[str]:
    cli.run("apply", "-f", cli.file("w.yaml", workload("redis.1")))
    words = cli.command("migrate", "redis.1", "--to", "n3", *options)
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.environment)


def carry_out(cli: Cli, *statuses: dict[str, Any]) -> dict[str, Any]:
    """What the operator would write, one after the other; returns the object as it was asked for."""
    deadline = time.monotonic() + COMMAND_S
    while not (found := migrations(cli)):
        assert time.monotonic() < deadline, "no migration was asked for"
    for status in statuses:
        patch = json.dumps({"status": status})
        name = found[0]["metadata"]["name"]
        cli.kubectl("patch", "mig", name, "--subresource=status", "--type=merge", "-p", patch)
    return found[0]


def outcome(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, error = running.communicate(timeout=COMMAND_S)
    return running.returncode, out, error


def test_it_tells_each_step_and_how_it_ended(cli: Cli) -> None:
    running = begin(cli, "--mode", "precopy")
    made = carry_out(
        cli,
        {"phase": "PreCopying", "message": "on the way", "rounds": [{**ROUND, "readyAt": "2026-01-31T12:00:05Z"}]},
        {"phase": "Done", "message": "it runs on n3"},
    )
    assert made["spec"] == {"workload": "redis.1", "to": {"node": "n3"}, "mode": "PreCopy", "dryRun": False}
    code, out, _ = outcome(running)
    name = made["metadata"]["name"]
    assert name.startswith("redis.1-")
    assert out.splitlines()[0] == f"migration.swarmkeep.dev/{name} created"
    assert "round 1: version 7 is there, 2.00 KiB were new" in out
    assert (code, out.splitlines()[-1]) == (0, "it runs on n3")
    assert cli.run("get", "mig").splitlines()[1].split()[:5] == [name, "redis.1", "PreCopy", "n3", "Done"]


def test_a_refusal_ends_with_1_and_the_reason(cli: Cli) -> None:
    running = begin(cli)
    carry_out(cli, {"phase": "Failed", "message": "nothing was stopped: n3 is not ready"})
    code, _, error = outcome(running)
    assert (code, error) == (1, "error: nothing was stopped: n3 is not ready\n")


def test_a_dry_run_leaves_no_object(cli: Cli) -> None:
    running = begin(cli, "--dry-run")
    made = carry_out(cli, {"phase": "Done", "message": "nothing was moved: it could go"})
    assert made["spec"]["dryRun"] is True
    assert outcome(running)[:2] == (0, "nothing was moved: it could go\n")
    assert migrations(cli) == []


def test_who_does_not_wait_long_enough_is_told_so(cli: Cli) -> None:
    code, _, error = outcome(begin(cli, "--timeout", "1s"))
    assert code == 3
    assert "is not looked at yet: is an operator running?" in error
    assert len(migrations(cli)) == 1


def test_what_does_not_exist_is_not_moved(cli: Cli) -> None:
    assert "not found" in cli.complaint("migrate", "nobody.1", "--to", "n3", code=1)
    assert migrations(cli) == []


def test_describe_tells_a_migration_in_short(cli: Cli) -> None:
    spec = {"workload": "redis.1", "to": {"node": "n3"}}
    cli.run("apply", "-f", cli.file("m.yaml", obj("Migration", "move", spec)))
    placement = {"serviceID": "s", "constraints": ["node.id==x"], "serviceVersion": 3}
    carry_out(
        cli,
        {"phase": "Moving", "from": "n2", "message": "is being stopped", "rounds": [ROUND], "placement": placement},
    )
    told = cli.run("describe", "mig", "move")
    assert "redis.1, from n2 to n3" in told
    assert "1: version 7, 2.00 KiB, on its way" in told
    assert "node.id==x; for now" in told
