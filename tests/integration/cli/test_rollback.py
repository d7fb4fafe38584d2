"""`swarmkeep rollback` and `forget` as a user types them, with the hands of the operator."""

from __future__ import annotations

import json

import pytest

from .conftest import Cli
from .test_prune import obj, scene

pytestmark = pytest.mark.etcd


def test_a_dry_run_says_what_would_happen_and_makes_nothing(cli: Cli) -> None:
    scene(cli)
    done = cli.tries("rollback", "redis.1", "--to", "v2", "--dry-run", code=0)
    assert "redis.1: version 2, taken " in done.stdout
    assert "the task on n1 is ended with a last version" in done.stdout
    assert "nothing was done" in done.stdout
    done = cli.tries("forget", "redis.1", "--dry-run", code=0)
    assert "nothing is stopped" in done.stdout
    assert json.loads(cli.run("get", "restores", "-o", "json"))["items"] == []


def test_what_cannot_be_is_refused_with_what_there_is(cli: Cli) -> None:
    scene(cli)
    done = cli.tries("rollback", "redis.1", "--to", "v9", code=1)
    assert "redis.1 stays as it is: there is no version 9; there are 1 to 4" in done.stderr
    done = cli.tries("rollback", "redis.1", "--to", "9", "--to-time", "10:30", code=2)
    assert "exclude each other" in done.stderr
    plain = obj("Workload", "web", {"policy": "redis", "type": "Container", "container": {"name": "web"}})
    cli.run("apply", "-f", cli.file("web.yaml", plain))
    done = cli.tries("rollback", "web", "--dry-run", code=1)
    assert "web stays as it is: a plain container cannot be brought back yet" in done.stderr
    done = cli.tries("forget", "redis.2", code=1)
    assert "redis.2" in done.stderr
    assert json.loads(cli.run("get", "restores", "-o", "json"))["items"] == []


def test_not_waited_for_it_leaves_the_object_that_the_operator_carries_out(cli: Cli) -> None:
    scene(cli)
    done = cli.tries("rollback", "redis.1", "--to-time", "2999-01-01T00:00:00Z", code=2)
    assert "has not come yet" in done.stderr
    done = cli.tries("rollback", "redis.1", "--no-wait", code=0)
    assert "restore.swarmkeep.dev/redis.1-" in done.stdout
    (made,) = json.loads(cli.run("get", "restores", "-o", "json"))["items"]
    assert made["spec"] == {
        "workload": "redis.1",
        "version": 4,
        "fresh": False,
        "when": "Now",
        "keepCurrent": True,
        "timeout": "5m",
    }
    done = cli.tries("forget", "redis.1", "--timeout", "1s", code=3)
    assert "is one running?" in done.stderr
