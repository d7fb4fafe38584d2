"""What containers and programs take of a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.runtime.facts import read_facts
from swarmkeep.agent.runtime.takings import (
    VOLUMES_TOLD,
    cpu_limit,
    free_memory,
    listening_ports,
    network_list,
    published_ports,
    set_aside_bytes,
    taken_status,
    volume_list,
)
from swarmkeep.agent.runtime.traits import read_traits

from .test_facts import changed

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue\n"
BOUND = {
    "8080/tcp": [{"HostIp": "", "HostPort": "80"}],
    "53/udp": [{"HostPort": "53"}, {"HostPort": ""}],
    "9/tcp": None,
}


@pytest.mark.parametrize(
    ("host", "expected"),
    [({}, 0), ({"Memory": 7}, 7), ({"Memory": 7, "MemoryReservation": 5}, 5), ({"MemoryReservation": 0}, 0)],
)
def test_a_reservation_counts_before_a_limit(host: dict[str, Any], expected: int) -> None:
    assert set_aside_bytes(host) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ({}, 0),
        ({"NanoCpus": 1_500_000_000}, 1.5),
        ({"CpuQuota": 50_000}, 0.5),
        ({"CpuQuota": 50_000, "CpuPeriod": 25_000}, 2),
        ({"CpuQuota": -1, "CpuPeriod": 25_000}, 0),
    ],
)
def test_both_ways_to_limit_processors_are_read(host: dict[str, Any], expected: float) -> None:
    assert cpu_limit(host) == expected


def test_ports_that_docker_chooses_do_not_count() -> None:
    assert published_ports({"PortBindings": BOUND}) == ("53/udp", "80/tcp")


def test_limits_of_tasks_do_not_count_as_swarm_does_not_count_them() -> None:
    limits = {"HostConfig__Memory": 100, "HostConfig__NanoCpus": 10**9, "HostConfig__PortBindings": BOUND}
    plain = read_facts(changed(**limits, Config__Labels={}))
    task = read_facts(
        changed(**limits, HostConfig__MemoryReservation=30, Config__Labels={"com.docker.swarm.service.name": "db"})
    )
    assert taken_status([plain, task], ["b", "a"], {"22/tcp", "80/tcp"}) == {
        "running": 2,
        "memoryBytes": 130,
        "cpus": 1,
        "names": ["a", "b"],
        "ports": ["22/tcp", "53/udp", "80/tcp"],
    }


def test_a_container_tells_what_it_needs() -> None:
    traits = read_traits(read_facts(changed(HostConfig__Memory=100, HostConfig__PortBindings=BOUND)), connections=False)
    assert (traits.name, traits.networks) == ("redis.1.xyz", ("back",))
    assert (traits.memory_bytes, traits.cpus, traits.ports) == (100, 0, ("53/udp", "80/tcp"))


def test_only_volumes_with_a_name_of_their_own_are_told_and_not_too_many() -> None:
    assert volume_list(["data", "f" * 64, "cache"]) == ["cache", "data"]
    assert len(volume_list(str(number) for number in range(1000))) == VOLUMES_TOLD


def test_networks_that_every_docker_has_are_not_told() -> None:
    raw: list[dict[str, Any]] = [
        {"Name": "bridge", "Driver": "bridge", "Scope": "local"},
        {"Name": "shop", "Driver": "overlay", "Scope": "swarm", "Attachable": True},
        {"Name": "inner", "Driver": "overlay", "Scope": "swarm", "Attachable": False},
        {"Name": "app_default", "Driver": "bridge", "Scope": "local", "Attachable": False},
    ]
    assert network_list(raw) == [
        {"name": "app_default", "driver": "bridge", "scope": "local", "attachable": True},
        {"name": "inner", "driver": "overlay", "scope": "swarm", "attachable": False},
        {"name": "shop", "driver": "overlay", "scope": "swarm", "attachable": True},
    ]


def test_ports_of_programs_are_those_that_listen_below_what_is_lent_to_clients(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "tcp").write_text(
        f"{HEADER}   0: 00000000:0016 00000000:0000 0A 0:0\n   1: 0100007F:1F90 0100007F:C350 01 0:0\n"
    )
    (folder / "udp6").write_text(f"{HEADER}   0: {'0' * 32}:0035 {'0' * 32}:0000 07 0:0\n 1: 0:8001 0:0 07 0:0\n")
    assert listening_ports(tmp_path) == {"22/tcp", "53/udp"}
    (tmp_path / "sys/net/ipv4").mkdir(parents=True)
    (tmp_path / "sys/net/ipv4/ip_local_port_range").write_text("40\t100\n")
    assert listening_ports(tmp_path) == {"22/tcp"}


@pytest.mark.parametrize(
    ("before", "available", "expected"),
    [
        (None, 55, 50),
        (50, 69, 50),
        (50, 41, 50),
        (50, 70, 70),
        (50, 40, 40),
        (50, 5, 0),
    ],
)
def test_free_memory_moves_only_when_it_has_moved_far(
    tmp_path: Path, before: int | None, available: int, expected: int
) -> None:
    """In KiB, of 160: a step is 10."""
    (tmp_path / "meminfo").write_text(f"MemTotal:  160 kB\nMemAvailable:  {available} kB\n")
    was = None if before is None else before << 10
    assert free_memory(was, 160 << 10, tmp_path) == expected << 10


def test_a_kernel_that_does_not_say_leaves_it_as_it_was(tmp_path: Path) -> None:
    assert free_memory(7, 160, tmp_path) == 7
    (tmp_path / "meminfo").write_text("MemTotal:  160 kB\n")
    assert free_memory(None, 160, tmp_path) is None
