"""Versions of real containers: whole, quick, and harmless whatever happens in the middle."""

from __future__ import annotations

from swarmlab.process import wait_until
from swarmlab.rootfs import VENV

from .conftest import PROGRAM, RUN, VERSION, RuntimeNode, running


def test_a_version_leaves_the_container_as_it_was(redis: RuntimeNode) -> None:
    result = redis.version("redis")
    assert result["error"] == ""
    assert result["frozen_s"] < 5
    assert redis.exec("redis", "redis-cli", "dbsize") == "400000"
    assert redis.freezer_states() == {"THAWED"}


def test_a_dump_that_takes_too_long_is_given_up_and_harms_nothing(redis: RuntimeNode) -> None:
    result = redis.version("redis", limit=0.1)
    assert "was given up; the container runs on" in result["error"]
    assert result["frozen_s"] < 3
    assert redis.exec("redis", "redis-cli", "get", "key:7").startswith("value:7")
    assert redis.version("redis")["error"] == ""


def test_a_dump_that_hangs_is_killed_and_the_network_works_on(redis: RuntimeNode) -> None:
    redis.sh("(for i in $(seq 200); do pkill -STOP -x criu && exit; sleep 0.05; done) >/dev/null 2>&1 & sleep 0.01")
    result = redis.version("redis", limit=1)
    assert "was given up" in result["error"]
    assert redis.exec("redis", "redis-cli", "-h", "localhost", "dbsize") == "400000"
    assert redis.version("redis")["error"] == ""


def test_an_agent_that_dies_in_the_middle_leaves_the_container_running(redis: RuntimeNode) -> None:
    with running(redis.start_version("redis")):
        redis.sh("pkill -KILL -f 'node_program.py [v]ersion'")
    wait_until("the dump to end", lambda: redis.sh("pgrep -x criu", check=False) == "", limit_s=20)
    wait_until("the guard to thaw", lambda: redis.freezer_states() == {"THAWED"}, limit_s=5)
    assert redis.exec("redis", "redis-cli", "dbsize") == "400000"


def test_the_cause_is_told_when_the_policy_refuses_connections(redis: RuntimeNode) -> None:
    redis.sh("docker exec -d redis redis-cli subscribe news")
    wait_until(
        "the connection", lambda: "cmd=subscribe" in redis.exec("redis", "redis-cli", "client", "list"), limit_s=10
    )
    assert "tcp: Refuse" in redis.version("redis", tcp="Refuse")["error"]
    assert redis.version("redis", tcp="Close")["error"] == ""


def test_a_final_version_ends_the_process_and_nothing_runs_after_it(redis: RuntimeNode) -> None:
    redis.exec("redis", "redis-cli", "set", "last", "word")
    assert redis.version("redis", final=True)["error"] == ""

    def status() -> str:
        return redis.sh("docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' redis")

    wait_until("the container to end", lambda: status() == "exited 137", limit_s=20)
    redis.sh("docker rm redis")
    redis.agent(folder=VERSION)
    redis.run("redis", "redis")
    assert redis.exec("redis", "redis-cli", "get", "last") == "word"


def test_no_version_is_taken_before_a_lazy_restore_has_read_all_pages(redis: RuntimeNode) -> None:
    redis.version("redis")
    redis.sh("docker rm -f redis")
    redis.agent(folder=VERSION)
    redis.run("redis", "redis")
    assert redis.version("redis", folder=f"{VERSION}2")["error"] == ""
    redis.sh("docker rm -f redis")
    redis.agent(folder=f"{VERSION}2", lazy=False)
    redis.run("redis", "redis")
    # A page that was not there yet would read as zeros.
    for number in range(0, 400_000, 40_000):
        assert redis.exec("redis", "redis-cli", "get", f"key:{number}").startswith(f"value:{number}")


def test_freezing_alone_is_quick(node: RuntimeNode) -> None:
    node.run("idle", "shell", "sleep", "1000")
    times = [node.version("idle")["frozen_s"] for _ in range(3)]
    assert min(times) < 1.0
    assert node.sh("docker inspect -f '{{.State.Paused}}' idle") == "false"


def test_a_restore_that_is_ended_from_outside_never_runs_the_program_and_can_be_repeated(redis: RuntimeNode) -> None:
    redis.version("redis")
    redis.sh("docker rm -f redis")
    redis.agent(folder=VERSION, lazy=False)
    image = redis.images["redis"]
    # From then on there is a process of the container, and CRIU has its memory still to read.
    forked = f"grep -qs 'Forking task' {RUN}/restore/*/restore.log"
    redis.sh(
        f"(for i in $(seq 4000); do {forked} && pkill -STOP -x criu && exit; sleep 0.005; done) >/dev/null 2>&1 & "
        f"docker run -d --name redis --label keep=yes {image} >/run/started 2>&1 & sleep 0.01"
    )
    wait_until("CRIU to stand still", lambda: " T" in redis.sh("ps -o comm=,stat= -C criu", check=False), limit_s=30)
    container = redis.sh("docker ps -aq --no-trunc -f name=redis")
    assert int(redis.sh(f"{VENV}/bin/python {PROGRAM} end {container}")) > 0
    wait_until("Docker to hear of it", lambda: "Error response" in redis.sh("cat /run/started"), limit_s=30)
    assert redis.sh("pgrep -x 'criu|redis-server'", check=False) == ""
    redis.sh("docker rm -f redis")
    redis.run("redis", "redis")
    assert redis.exec("redis", "redis-cli", "dbsize") == "400000"
