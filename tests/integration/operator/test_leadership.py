"""One operator leads; another takes over when it dies; a leader that lost its lease ends and writes nothing more."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from swarmkeep.kube.answers import FencedOff
from swarmkeep.kube.client import Fence
from swarmkeep.model.kinds import LOCATION, POLICY, WORKLOAD

from ..servers import OPERATOR_FOLDER, Process
from .conftest import TTL, Cluster

pytestmark = pytest.mark.etcd

TTL_S = TTL.total_seconds()
SLACK_S = 3.0
"""For two busy cores: Python's own start and the steps after the election."""


class Candidate:
    """An operator in a process of its own."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        config = cluster.config(name)
        settings = {
            "node": name,
            "api": {"servers": list(config.api.servers), "ca": str(config.api.ca)},
            "etcd": {"endpoints": [cluster.etcd], "ca": None, "certificate": None, "key": None},
            "operator": {
                "certificate": str(config.operator.certificate),
                "key": str(config.operator.key),
                "electionTTL": f"{TTL_S:g}s",
            },
        }
        path = cluster.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings))
        command = [sys.executable, str(Path(__file__).with_name("candidate.py")), str(path)]
        self.process = Process(command, cluster.folder / f"{name}.log", {"PYTHONPATH": str(OPERATOR_FOLDER)})

    @property
    def log(self) -> str:
        return self.process.log.read_text("utf-8", "replace")

    @property
    def leads(self) -> bool:
        return '"event": "leads"' in self.log

    @property
    def code(self) -> int | None:
        return self.process._process.poll()


@contextmanager
def candidates(cluster: Cluster, *names: str) -> Iterator[list[Candidate]]:
    made = [Candidate(cluster, name) for name in names]
    try:
        yield made
    finally:
        for one in made:
            one.process.kill()


def test_a_killed_leader_is_followed_within_two_lease_times(cluster: Cluster) -> None:
    with candidates(cluster, "m1", "m2") as both:
        leader = cluster.until(lambda: next((one for one in both if one.leads), None), "one of them leads")
        standby = next(one for one in both if one is not leader)
        cluster.until(lambda: "waiting for the leader" in standby.log, "the other waits")
        assert not standby.leads
        leader.process.kill()
        began = time.monotonic()
        cluster.until(lambda: standby.leads, "the other leads", patience_s=2 * TTL_S + SLACK_S)
        assert time.monotonic() - began < 2 * TTL_S + SLACK_S
        # And it works: what it has not seen before it finds out.
        cluster.create(LOCATION, "main", spec={"filesystem": {"path": "/shared"}})
        spec = {"selector": {"service": "redis"}, "schedule": {"every": "60s"}, "storage": ["main"]}
        cluster.create(POLICY, "redis", "default", spec=spec)
        cluster.until(lambda: cluster.find(WORKLOAD, "redis.1", "default"), "the new leader works")


def test_a_leader_that_was_frozen_ends_when_it_wakes(cluster: Cluster) -> None:
    with candidates(cluster, "m1", "m2") as both:
        leader = cluster.until(lambda: next((one for one in both if one.leads), None), "one of them leads")
        standby = next(one for one in both if one is not leader)
        cluster.until(lambda: "waiting for the leader" in standby.log, "the other waits")
        os.kill(leader.process.pid, signal.SIGSTOP)
        cluster.until(lambda: standby.leads, "the other leads", patience_s=2 * TTL_S + SLACK_S)
        os.kill(leader.process.pid, signal.SIGCONT)
        cluster.until(lambda: leader.code is not None, "the old leader ends", patience_s=TTL_S + SLACK_S)
        assert leader.code == 10
        assert standby.code is None


def test_a_leader_that_is_told_to_stop_hands_over_at_once(cluster: Cluster) -> None:
    with candidates(cluster, "m1", "m2") as both:
        leader = cluster.until(lambda: next((one for one in both if one.leads), None), "one of them leads")
        standby = next(one for one in both if one is not leader)
        cluster.until(lambda: "waiting for the leader" in standby.log, "the other waits")
        began = time.monotonic()
        assert leader.process.stop() == 0
        cluster.until(lambda: standby.leads, "the other leads")
        assert time.monotonic() - began < TTL_S + SLACK_S


def test_a_write_with_an_old_token_is_refused(cluster: Cluster) -> None:
    cluster.create(LOCATION, "main", spec={"filesystem": {"path": "/shared"}})
    with cluster.operator() as operator:
        cluster.until(lambda: operator.leader is not None, "it leads")
        with pytest.raises(FencedOff):
            cluster.patch(LOCATION, "main", {"metadata": {"labels": {"a": "b"}}}, fence=Fence(1))


def test_the_api_server_may_go_and_come_back(cluster: Cluster) -> None:
    cluster.swarm.create("redis")
    with cluster.operator() as operator:
        cluster.create(LOCATION, "main", spec={"filesystem": {"path": "/shared"}})
        cluster.until(lambda: cluster.condition(LOCATION, "main", "Reachable")[1] == "NoNodes", "it works")
        cluster.server.kill()
        time.sleep(2 * TTL_S)
        cluster.server.start()
        cluster.list(LOCATION)
        spec = {"selector": {"service": "redis"}, "schedule": {"every": "60s"}, "storage": ["main"]}
        cluster.create(POLICY, "redis", "default", spec=spec)
        cluster.until(lambda: cluster.find(WORKLOAD, "redis.1", "default"), "it works again")
        assert operator.leader is not None
    assert cluster.exits == []
