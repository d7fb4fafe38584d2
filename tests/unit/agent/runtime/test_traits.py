"""Traits of a container: out of Docker's inspection, and connections out of /proc."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.runtime.facts import read_facts
from swarmkeep.agent.runtime.traits import CONNECTIONS_EVERY_S, TraitsReader, has_connections, read_traits
from swarmkeep.model.traits import Mount

from .test_facts import INSPECTION, changed

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue\n"
LISTENING = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n"
ESTABLISHED = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000\n"


def test_the_inspection_is_read() -> None:
    traits = read_traits(read_facts(INSPECTION), connections=False)
    assert (traits.image, traits.image_id) == ("redis@sha256:abc", "sha256:0dfa98ab")
    assert (traits.tty, traits.privileged, traits.host_namespaces, traits.devices) == (False, False, (), ())
    assert traits.mounts == (
        Mount("volume", "", "/anonymous", False),
        Mount("bind", "/srv/b", "/app", True),
        Mount("volume", "data", "/data", False),
    )


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        ("Config__Tty", True, "tty", True),
        ("HostConfig__Privileged", True, "privileged", True),
        ("HostConfig__NetworkMode", "host", "host_namespaces", ("Network",)),
        ("HostConfig__PidMode", "host", "host_namespaces", ("PID",)),
        ("HostConfig__IpcMode", "private", "host_namespaces", ()),
        ("HostConfig__Devices", [{"PathOnHost": "/dev/dri"}], "devices", ("/dev/dri",)),
        ("HostConfig__DeviceRequests", [{"Driver": "", "Capabilities": [["gpu"]]}], "devices", ("gpu",)),
        ("HostConfig__DeviceRequests", [{"Driver": "nvidia", "Capabilities": None}], "devices", ("nvidia",)),
    ],
)
def test_each_trait_has_its_place_in_it(path: str, value: Any, field: str, expected: Any) -> None:
    traits = read_traits(read_facts(changed(**{path: value})), connections=False)
    assert getattr(traits, field) == expected


def table(proc: Path, text: str, name: str = "tcp") -> None:
    folder = proc / "323/net"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({}, False),
        ({"tcp": HEADER}, False),
        ({"tcp": HEADER + LISTENING}, False),
        ({"tcp": HEADER + LISTENING + ESTABLISHED}, True),
        ({"tcp": HEADER, "tcp6": HEADER + ESTABLISHED}, True),
        ({"tcp": "", "tcp6": HEADER + "\n"}, False),
    ],
)
def test_an_established_connection_is_seen(tmp_path: Path, tables: dict[str, str], expected: bool) -> None:
    for name, text in tables.items():
        table(tmp_path, text, name)
    assert has_connections(323, tmp_path) is expected


def test_a_real_connection_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert has_connections(os.getpid())


async def test_a_connection_once_seen_counts_for_the_containers_life(tmp_path: Path) -> None:
    now = 0.0
    reader = TraitsReader(tmp_path, lambda: now)
    facts = read_facts(INSPECTION)

    async def connected() -> bool:
        """What is told once the look that this asks for has ended."""
        reader.read(facts)
        while looks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(looks)
        return reader.read(facts).connections

    table(tmp_path, HEADER)
    assert not await connected()
    table(tmp_path, HEADER + ESTABLISHED)
    now = CONNECTIONS_EVERY_S - 1
    assert not await connected()  # not looked at again so soon
    now = CONNECTIONS_EVERY_S
    assert await connected()
    table(tmp_path, HEADER)
    now = 9 * CONNECTIONS_EVERY_S
    assert await connected()
    reader.forget(facts.id)
    assert not await connected()


async def test_a_container_that_ends_during_a_look_is_not_remembered(tmp_path: Path) -> None:
    reader = TraitsReader(tmp_path, lambda: 0.0)
    facts = read_facts(INSPECTION)
    table(tmp_path, HEADER + ESTABLISHED)
    reader.read(facts)
    reader.forget(facts.id)
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    assert not reader.read(facts).connections
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})


@pytest.mark.parametrize(
    ("check", "seconds"),
    [
        (None, 0.0),
        ({"Test": ["NONE"]}, 0.0),
        ({"Test": ["CMD", "true"]}, 150.0),
        ({"Test": ["CMD", "true"], "Interval": 500_000_000, "Timeout": 2_000_000_000, "Retries": 2}, 4.5),
        ({"Test": ["CMD", "true"], "Timeout": 1_000_000_000, "Retries": 1}, 1.0),
    ],
)
def test_a_health_check_has_so_much_patience(check: Any, seconds: float) -> None:
    facts = read_facts(changed(Config__Healthcheck=check))
    assert read_traits(facts, connections=False).health_patience_s == seconds


def test_variables_with_the_name_of_the_task_or_the_node_are_told() -> None:
    labels = {"com.docker.swarm.task.id": "t" * 25, "com.docker.swarm.node.id": "n" * 25}
    env = ["A=1", f"TASK=x-{'t' * 25}", f"ID={'n' * 25}", "HOST=n2", "PEERS=n2,n3", "EMPTY="]
    facts = read_facts(changed(Config__Env=env, Config__Labels=labels))
    assert read_traits(facts, connections=False, hostname="n2").own_environment == ("HOST", "ID", "TASK")
    plain = read_facts(changed(Config__Env=env, Config__Labels={}))
    assert read_traits(plain, connections=False, hostname="n2").own_environment == ()
