"""TCP connections of plain containers that keep their address."""

from __future__ import annotations

import json
from typing import Any

from swarmlab import Lab
from swarmlab.node import Node
from swarmlab.process import wait_until
from swarmlab.workload import Api, policy

NETWORK = "fixed"
SUBNET = "10.123.7.0/24"
ADDRESS = "10.123.7.10"
CLIENT = "10.123.7.20"
NEIGHBOUR = """
import socket, time
connection = socket.create_connection(("10.123.7.10", 6379))
while True:
    connection.sendall(b"*2\\r\\n$4\\r\\nINCR\\r\\n$7\\r\\ncounter\\r\\n")
    answer = connection.recv(64)
    if not answer:
        raise SystemExit("closed")
    print(int(answer[1:]), flush=True)
    time.sleep(0.02)
"""
"""A client of one single connection, which ends with that."""


def established(name: str) -> dict[str, Any]:
    found = policy(name, every="1h", checkpoint={"tcp": "Established"})
    found["spec"]["selector"] = {"container": name}
    return found


def run(lab: Lab, node: Node, name: str, address: str, image: str, *command: str) -> None:
    words = ["docker", "run", "--detach", "--name", name, "--network", NETWORK, "--ip", address]
    node.execute([*words, lab.images()[image], *command])


def seen(node: Node) -> list[int]:
    """What the client was answered."""
    return [int(line) for line in node.execute(["docker", "logs", "client"]).stdout.split()]


def client_state(node: Node) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(node.execute(["docker", "inspect", "client"]).stdout)[0]["State"]
    return state


def test_connections_go_on_over_a_stop_and_are_closed_after_a_crash(lab: Lab, api: Api) -> None:
    node = lab.node("n2")
    api.apply(established("held"))
    node.execute(["docker", "network", "create", "--subnet", SUBNET, NETWORK])
    try:
        run(lab, node, "held", ADDRESS, "redis")
        api.wait_claimed("held")
        run(lab, node, "client", CLIENT, "python", "python3", "-c", NEIGHBOUR)
        wait_until("the client to be answered", lambda: len(seen(node)) > 10, limit_s=60)

        node.execute(["docker", "stop", "--time", "60", "held"], limit_s=90)
        api.wait_version("held", 1)
        last = seen(node)[-1]
        node.execute(["docker", "start", "held"], limit_s=90)
        assert api.get("workload", "held")["status"]["lastStart"]["how"] == "Restored"
        wait_until("the client to be answered again", lambda: seen(node)[-1] > last + 20, limit_s=60)
        answers = seen(node)
        assert answers == list(range(1, len(answers) + 1)), "an answer was lost, or came twice"
        assert client_state(node)["Running"], "on the connection that it had"

        # That version is of the stop: its peer has gone on since, and no connection of then fits it any more.
        node.execute(["docker", "kill", "held"])
        node.execute(["docker", "start", "held"], limit_s=90)
        assert api.get("workload", "held")["status"]["lastStart"]["version"] == 1
        clients = node.execute(["docker", "exec", "held", "redis-cli", "CLIENT", "LIST"]).stdout
        assert CLIENT not in clients, "it waits for a peer that is not there any more"
        assert int(node.execute(["docker", "exec", "held", "redis-cli", "GET", "counter"]).stdout) in (last, last + 1)
    finally:
        node.execute(["docker", "rm", "-f", "held", "client"], check=False)
        node.execute(["docker", "network", "rm", NETWORK], check=False)
