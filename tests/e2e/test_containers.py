"""Plain containers: nobody but SwarmKeep moves them."""

import json
import socket
from typing import Any

import pytest

from swarmlab import Lab, LabError
from swarmlab.node import Node
from swarmlab.process import wait_until
from swarmlab.workload import Api, policy

PORT = 16379
KEYS = 20_000
FILL = "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('SET', 'key:' .. i, i) end"
COUNT = (
    "local good = 0 for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do "
    "if redis.call('GET', 'key:' .. i) == tostring(i) then good = good + 1 end end return good"
)


def for_containers(name: str, selector: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A CheckpointPolicy for plain containers."""
    found = policy(name, **spec)
    found["spec"]["selector"] = selector
    return found


def run(lab: Lab, node: str, name: str, *options: str) -> Node:
    """`docker run` of a Redis on a node."""
    where = lab.node(node)
    where.execute(["docker", "run", "--detach", "--name", name, *options, lab.images()["redis"]])
    return where


def cli(node: Node, container: str, *words: str) -> str:
    return node.execute(["docker", "exec", container, "redis-cli", *words]).stdout.strip()


def inspect(node: Node, container: str) -> dict[str, Any]:
    """What Docker knows of it; empty when it knows nothing."""
    done = node.execute(["docker", "inspect", container], check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found[0] if found else {}


def ask(node: Node, command: str) -> str:
    """What Redis answers to a client from outside, at the port that Docker publishes on the node."""
    with socket.create_connection((node.address, PORT), timeout=10) as connection:
        connection.sendall(command.encode() + b"\r\n")
        answer = connection.makefile("rb")
        answer.readline()
        return answer.readline().decode().strip()


def is_running(node: Node, container: str) -> bool:
    return bool(inspect(node, container).get("State", {}).get("Running"))


@pytest.mark.timeout(400)
def test_a_plain_container_goes_on_elsewhere_when_its_node_loses_power_and_its_stale_copy_goes(
    lab: Lab, api: Api
) -> None:
    api.apply(for_containers("kept", {"containerLabels": {"keep": "yes"}}, every="2s"))
    home = run(
        lab, "n3", "cache", "--label", "keep=yes", "--publish", f"{PORT}:6379", "--restart", "always",
        "--memory", "200m", "--env", "WHO=me", "--tmpfs", "/scratch", "--hostname", "cachehost",
    )  # fmt: skip
    cli(home, "cache", "CONFIG", "SET", "protected-mode", "no")
    cli(home, "cache", "EVAL", FILL, "0", "1", str(KEYS))
    home.execute(["docker", "exec", "cache", "sh", "-c", "echo kept > /srv/made"])
    api.wait_version("cache", 1, limit_s=90)
    api.wait_version("cache", api.newest_version("cache") + 2)
    before = inspect(home, "cache")

    lab.kill("n3")
    held: list[Node] = []

    def runs() -> bool:
        held[:] = [node for node in lab.nodes if node.pid and is_running(node, "cache")]
        return bool(held)

    wait_until("the container to run elsewhere", runs, limit_s=120)
    (new,) = held
    assert cli(new, "cache", "EVAL", COUNT, "0", "1", str(KEYS)) == str(KEYS)
    assert new.execute(["docker", "exec", "cache", "cat", "/srv/made"]).stdout == "kept\n"
    after = inspect(new, "cache")
    for field in ("Env", "Labels", "Hostname", "Cmd", "Image"):
        assert after["Config"][field] == before["Config"][field], field
    for field in ("RestartPolicy", "Memory", "Tmpfs", "PortBindings", "LogConfig"):
        assert after["HostConfig"][field] == before["HostConfig"][field], field
    assert ask(new, "GET key:7") == "7"
    status = api.get("workload", "cache")["status"]
    assert (status["lastStart"]["how"], status["lastStart"]["reason"]) == ("Restored", "NodeLoss")
    assert status["placement"]["node"] == new.name == status["claim"]["node"]

    lab.boot("n3")
    home = lab.node("n3")

    def gone() -> bool:
        try:
            home.execute(["docker", "info"], limit_s=10)
        except LabError:
            return False
        assert not is_running(home, "cache")
        return inspect(home, "cache") == {}

    wait_until("the stale copy to be removed", gone, limit_s=150)
    assert cli(new, "cache", "EVAL", COUNT, "0", "1", str(KEYS)) == str(KEYS)
    assert api.get("workload", "cache")["status"]["claim"]["node"] == new.name


def test_the_copy_on_a_node_that_was_only_cut_off_is_ended_and_removed(lab: Lab, api: Api) -> None:
    api.apply(for_containers("alone", {"container": "alone"}, every="2s"))
    home = run(lab, "n3", "alone", "--restart", "always")
    cli(home, "alone", "SET", "only", "in memory")
    api.wait_version("alone", 1, limit_s=90)
    api.wait_version("alone", api.newest_version("alone") + 1)
    old = inspect(home, "alone")["Id"]

    lab.cut("n3")
    others = [lab.node("n1"), lab.node("n2")]
    wait_until("it to run elsewhere", lambda: any(is_running(node, "alone") for node in others), limit_s=120)
    assert not home.may_run(old)
    lab.mend("n3")
    wait_until("the copy to be removed", lambda: inspect(home, "alone") == {}, limit_s=120)
    (new,) = [node for node in others if is_running(node, "alone")]
    assert cli(new, "alone", "GET", "only") == "in memory"
    assert api.get("workload", "alone")["status"]["claim"]["node"] == new.name


def test_stopping_and_starting_a_plain_container_keeps_what_was_in_its_memory(lab: Lab, api: Api) -> None:
    api.apply(for_containers("web", {"container": "web"}, every="1h"))
    node = run(lab, "n2", "web", "--restart", "unless-stopped")
    api.wait_claimed("web")
    cli(node, "web", "SET", "only", "in memory")
    node.execute(["docker", "stop", "web"])
    wait_until(
        "the claim to be given back", lambda: not api.get("workload", "web")["status"]["claim"].get("node"), limit_s=60
    )
    stopped = api.get("workload", "web")["status"]
    assert (stopped["phase"], stopped["lastEnd"]["how"]) == ("Stopped", "Stopped")
    node.execute(["docker", "start", "web"])
    assert cli(node, "web", "GET", "only") == "in memory"

    # Of one that was made anew under its name the same is true.
    cli(node, "web", "SET", "more", "later")
    node.execute(["docker", "stop", "web"])
    node.execute(["docker", "rm", "web"])
    run(lab, "n2", "web", "--restart", "unless-stopped")
    assert cli(node, "web", "GET", "more") == "later"

    # A crash: Docker starts the same container again by its restart policy.
    cli(node, "web", "SET", "last", "before the crash")
    api.run(
        "apply",
        "-f",
        "-",
        input=json.dumps(
            {
                "apiVersion": "swarmkeep.dev/v1alpha1",
                "kind": "Checkpoint",
                "metadata": {"name": "before-crash", "namespace": "default"},
                "spec": {"workload": "web"},
            }
        ),
    )
    newest = api.newest_version("web")
    api.wait_version("web", newest + 1)
    node.execute(["kill", "-9", str(inspect(node, "web")["State"]["Pid"])])
    wait_until(
        "it to be restored",
        lambda: is_running(node, "web") and api.get("workload", "web")["status"]["lastStart"].get("reason") == "Crash",
        limit_s=60,
    )
    assert cli(node, "web", "GET", "last") == "before the crash"
