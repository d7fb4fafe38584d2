"""A container as Docker describes it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.runtime.facts import read_docker_time, read_facts
from swarmkeep.errors import Unavailable

INSPECTION: dict[str, Any] = {
    "Id": "f26d96a65748202a06bf901740b0d99d79402c6cc41d12e3a79f7bf2cef60f11",
    "Created": "2026-11-23T08:19:06.130366926Z",
    "State": {
        "Status": "running",
        "Running": True,
        "OOMKilled": False,
        "Pid": 323,
        "ExitCode": 0,
        "StartedAt": "2026-11-23T08:19:06.553023123Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Image": "sha256:0dfa98ab",
    "Name": "/redis.1.xyz",
    "HostConfig": {
        "RestartPolicy": {"Name": "always"},
        "CapAdd": ["SYS_NICE"],
        "CapDrop": None,
        "Tmpfs": {"/tmp": "size=1m"},
    },
    "GraphDriver": {"Data": {"UpperDir": "/var/lib/docker/overlay2/1dd3/diff"}, "Name": "overlay2"},
    "Mounts": [
        {"Type": "bind", "Source": "/srv/b", "Destination": "/app", "RW": False},
        {"Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data", "Destination": "/data"},
        {"Type": "volume", "Name": "a" * 64, "Source": "/var/lib/docker/volumes/x/_data", "Destination": "/anonymous"},
    ],
    "Config": {
        "User": "1000",
        "Tty": False,
        "Env": ["A=1"],
        "Cmd": ["redis-server", "--save", ""],
        "Image": "redis@sha256:abc",
        "WorkingDir": "/srv",
        "Entrypoint": None,
        "Labels": {"com.docker.swarm.service.name": "redis"},
    },
    "NetworkSettings": {"Networks": {"ingress": {}, "back": {}}},
}


def changed(**paths: Any) -> dict[str, Any]:
    """The inspection with `Section__Key=value` set."""
    value = copy.deepcopy(INSPECTION)
    for path, new in paths.items():
        section, key = path.split("__")
        value[section][key] = new
    return value


def test_reads_a_running_container() -> None:
    facts = read_facts(INSPECTION)
    assert facts.name == "redis.1.xyz"
    assert (facts.pid, facts.running, facts.exit_code) == (323, True, None)
    assert facts.command == ("redis-server", "--save", "")
    assert facts.entrypoint == ()
    assert facts.cap_add == ("SYS_NICE",)
    assert facts.upper_dir == Path("/var/lib/docker/overlay2/1dd3/diff")
    assert facts.networks == ("back", "ingress")
    assert facts.stop_timeout_s == 10
    assert facts.restart_policy == "always"


def test_names_a_mount_by_what_the_user_gave_it_not_by_what_docker_made_up() -> None:
    assert read_facts(INSPECTION).mounts == (
        "bind:/srv/b:/app:ro",
        "tmpfs::/tmp:rw",
        "volume::/anonymous:rw",
        "volume:data:/data:rw",
    )


def test_knows_how_a_container_ended_only_once_it_has() -> None:
    state = {"State__Running": False, "State__FinishedAt": "2026-11-23T09:00:00Z", "State__ExitCode": 3}
    assert read_facts(changed(**state)).exit_code == 3
    assert read_facts(changed(State__Running=False)).exit_code is None


def test_takes_a_stop_timeout_of_nothing_for_what_it_says() -> None:
    assert read_facts(changed(Config__StopTimeout=0)).stop_timeout_s == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T08:19:06.130366926Z", datetime(2026, 11, 23, 8, 19, 6, 130366, UTC)),
        ("2026-11-23T08:19:06.1Z", datetime(2026, 11, 23, 8, 19, 6, 100000, UTC)),
        ("2026-11-23T10:19:06+02:00", datetime(2026, 11, 23, 8, 19, 6, 0, UTC)),
    ],
)
def test_reads_dockers_times(text: str, expected: datetime) -> None:
    assert read_docker_time(text) == expected


@pytest.mark.parametrize("damage", [{}, {"Id": "x"}, changed(State__Pid="many"), {**INSPECTION, "Created": "soon"}])
def test_says_so_when_docker_talks_in_another_way(damage: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match="not understood"):
        read_facts(damage)


def test_what_a_process_gets_only_at_its_start_is_read() -> None:
    assert read_facts(INSPECTION).settled == ()
    raw = changed(
        HostConfig__Init=True,
        HostConfig__ReadonlyRootfs=True,
        HostConfig__Ulimits=[{"Name": "nofile", "Soft": 10, "Hard": 20}],
        HostConfig__Sysctls={"net.core.somaxconn": "99"},
        HostConfig__GroupAdd=["7"],
    )
    raw["SwarmFiles"] = ["c1", "s1"]
    assert read_facts(raw).settled == (
        "group 7",
        "init",
        "read-only",
        "secret or config c1",
        "secret or config s1",
        "sysctl net.core.somaxconn=99",
        "ulimit nofile=10:20",
    )
