"""What a container for a trial is like, and what stands in for what is mounted into the real one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.agent.runtime import stand_ins as module
from swarmkeep.agent.runtime.isolation import LABEL, CannotIsolate, StandIn, isolated, limit_is_own, stand_ins
from swarmkeep.agent.runtime.restore_errors import explain_restore, is_of_isolation
from swarmkeep.agent.runtime.stand_ins import put_in_place

ANONYMOUS = "a" * 64


def inspection(**host: Any) -> dict[str, Any]:
    return {
        "Id": "c1",
        "Name": "/redis.1.abc",
        "Image": "sha256:1",
        "Config": {
            "Image": "redis:7",
            "Env": ["A=1"],
            "Cmd": ["redis-server"],
            "Entrypoint": None,
            "User": "999",
            "Hostname": "h",
            "Tty": False,
            "Labels": {"com.docker.swarm.service.name": "redis", "mine": "1"},
            "Healthcheck": {"Test": ["CMD", "redis-cli", "ping"]},
        },
        "HostConfig": {"NetworkMode": "default", "Binds": ["/srv:/srv"], **host},
        "Mounts": [
            {"Type": "bind", "Source": "/srv", "Destination": "/srv", "RW": True},
            {"Type": "bind", "Source": "/etc/app.conf", "Destination": "/app.conf", "RW": False},
            {"Type": "volume", "Name": "data", "Source": "/v/data", "Destination": "/data", "RW": True},
            {"Type": "volume", "Name": ANONYMOUS, "Source": "/v/a", "Destination": "/cache", "RW": True},
            {"Type": "tmpfs", "Source": "", "Destination": "/run", "RW": True},
        ],
        "NetworkSettings": {"Networks": {"lab-net": {}}},
    }


PLACES = {"/srv": "/t/0", "/app.conf": "/t/1", "/data": "/t/2"}


def test_it_has_no_network_no_label_and_no_mount_of_the_real_one() -> None:
    raw = inspection(
        CapAdd=["NET_ADMIN"],
        Memory=64 << 20,
        Tmpfs={"/run": ""},
        PortBindings={"80/tcp": [{"HostPort": "80"}]},
        RestartPolicy={"Name": "always"},
        Mounts=[
            {"Type": "tmpfs", "Target": "/tmp/x"},
            {"Type": "volume", "Source": "data", "Target": "/data"},
        ],
    )
    made = isolated(raw, "sha256:1", 1 << 20, PLACES)
    host = made["HostConfig"]
    assert made["Image"] == "sha256:1"
    assert made["Labels"] == {LABEL: "yes"}
    assert made["Healthcheck"] == {"Test": ["NONE"]}
    assert (made["Env"], made["Cmd"], made["User"], made["Hostname"]) == (["A=1"], ["redis-server"], "999", "h")
    assert (host["NetworkMode"], host["RestartPolicy"], host["LogConfig"]) == ("none", {"Name": "no"}, {"Type": "none"})
    assert (host["CapAdd"], host["Tmpfs"]) == (["NET_ADMIN"], {"/run": ""})
    assert (host["Memory"], host["MemorySwap"]) == (64 << 20, 64 << 20)
    assert not {"Binds", "PortBindings"} & host.keys()
    assert {mount["Target"]: mount.get("Source") for mount in host["Mounts"]} == {
        "/tmp/x": None,
        "/srv": "/t/0",
        "/app.conf": "/t/1",
        "/data": "/t/2",
        "/cache": None,
    }
    assert {mount["Target"] for mount in host["Mounts"] if mount.get("ReadOnly")} == {"/app.conf"}
    assert not limit_is_own(raw)


def test_without_a_limit_it_gets_one_that_its_image_fits_into() -> None:
    raw = inspection()
    made = isolated(raw, "sha256:1", 1 << 30, PLACES)
    assert made["HostConfig"]["Memory"] > 2 << 30
    assert limit_is_own(raw)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Privileged": True}, "it is privileged"),
        ({"Devices": [{"PathOnHost": "/dev/sda"}]}, "devices"),
        ({"DeviceRequests": [{"Driver": "nvidia"}]}, "devices"),
        ({"NetworkMode": "host"}, "its node's network"),
        ({"NetworkMode": "container:abc"}, "another container's network"),
        ({"PidMode": "host"}, "its node's processes"),
        ({"IpcMode": "host"}, "its node's shared memory"),
        ({"UTSMode": "host", "Privileged": True}, "privileged; it shares its node's host name"),
    ],
)
def test_what_shares_its_node_is_not_tried(host: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotIsolate, match=words):
        isolated(inspection(**host), "sha256:1", 0, PLACES)


@given(
    st.dictionaries(
        st.sampled_from(["Binds", "VolumesFrom", "Links", "PortBindings", "ContainerIDFile", "VolumeDriver", "Cgroup"]),
        st.lists(st.text(max_size=5)),
    ),
    st.sampled_from(["", "default", "bridge", "lab-net"]),
)
def test_nothing_that_leads_outside_is_taken_over(host: dict[str, Any], network: str) -> None:
    made = isolated(inspection(**host, NetworkMode=network), "sha256:1", 0, PLACES)["HostConfig"]
    assert not host.keys() & made.keys()
    assert made["NetworkMode"] == "none"
    sources = {mount.get("Source") for mount in made["Mounts"]} - {None}
    assert sources == set(PLACES.values())


def test_every_named_mount_has_a_stand_in() -> None:
    found = stand_ins(inspection())
    assert [(place.target, place.name, place.read_only) for place in found] == [
        ("/srv", "/srv", False),
        ("/app.conf", "/etc/app.conf", True),
        ("/data", "volume data", False),
    ]


def test_what_is_only_read_is_copied_and_what_is_written_is_left_empty(tmp_path: Path) -> None:
    source = tmp_path / "real"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("content")
    (source / "link").symlink_to("/etc/shadow")
    (tmp_path / "app.conf").write_text("setting")
    places = [
        StandIn("/ro", str(source), "ro", True),
        StandIn("/rw", str(source), "rw", False),
        StandIn("/app.conf", str(tmp_path / "app.conf"), "conf", True),
        StandIn("/sock", str(tmp_path / "app.conf"), "sock", False),
        StandIn("/gone", "/nonexistent/folder", "gone", True),
    ]
    made, left_out = put_in_place(places, tmp_path / "made")
    assert (Path(made["/ro"]) / "sub" / "file").read_text() == "content"
    assert os.readlink(Path(made["/ro"]) / "link") == "/etc/shadow"
    assert list(Path(made["/rw"]).iterdir()) == []
    assert Path(made["/app.conf"]).read_text() == "setting"
    assert Path(made["/sock"]).read_text() == ""
    assert Path(made["/gone"]).is_dir()
    assert left_out == ["rw", "sock", "gone"]
    (Path(made["/ro"]) / "sub" / "file").write_text("changed in the trial")
    assert (source / "sub" / "file").read_text() == "content"


@pytest.mark.parametrize("odd", ["large", "many", "pipe"])
def test_what_is_large_or_no_plain_file_is_left_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    source = tmp_path / "real"
    source.mkdir()
    (source / "a").write_text("12345")
    (source / "b").write_text("12345")
    if odd == "large":
        monkeypatch.setattr(module, "COPIED_BYTES", 9)
    elif odd == "many":
        monkeypatch.setattr(module, "COPIED_FILES", 1)
    else:
        os.mkfifo(source / "pipe")
    made, left_out = put_in_place([StandIn("/ro", str(source), "ro", True)], tmp_path / "made")
    assert left_out == ["ro"]
    assert list(Path(made["/ro"]).iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CRIU: Error (criu/mount.c:1): mnt: No mapping for /run/secrets/key mountpoint", "secrets and configs"),
        ("CRIU: Error (criu/files-reg.c:1): File usr/lib/libc.so has bad size 1 (expect 2)", "another one now"),
        ("CRIU: Error (criu/files-reg.c:1): Can't open file data/log on restore: No such file", "is not there"),
        (
            "CRIU: Error (criu/sk-inet.c:1): inet: Can't bind inet socket (id 1): Cannot assign",
            "listens on is not there",
        ),
        ("CRIU: Error (criu/mount.c:2): mnt: Can't mount at ./app.conf", "mounted into it"),
        ("runc: whatever", "for a reason that SwarmKeep does not know"),
    ],
)
def test_a_failed_restore_is_explained(text: str, words: str) -> None:
    assert words in explain_restore(text)
    assert text in explain_restore(text)
    assert is_of_isolation(text) is ("mnt: " in text)
