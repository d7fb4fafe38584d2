"""A container out of Docker's own files."""

import json
from pathlib import Path

import pytest

from swarmkeep.agent.runtime.stored_facts import read_stored_facts, read_swarm_files
from swarmkeep.errors import NotFound, Unavailable

from .test_facts import INSPECTION

CONTAINER = str(INSPECTION["Id"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What Docker has written of the example, under tmp_path."""
    same = ("Name", "Created", "Image", "Config", "State")
    folder = tmp_path / "containers" / CONTAINER
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text(json.dumps({"ID": CONTAINER, **{key: INSPECTION[key] for key in same}}))
    (folder / "hostconfig.json").write_text(json.dumps(INSPECTION["HostConfig"]))
    return folder


def test_secrets_and_configs_are_told_by_the_files_alone(tmp_path: Path, folder: Path) -> None:
    assert read_stored_facts(tmp_path, CONTAINER).settled == ()
    (folder / "mounts/secrets").mkdir(parents=True)
    assert read_swarm_files(tmp_path, CONTAINER) == {}
    for name in ("s1", "c1"):
        (folder / "mounts/secrets" / name).touch()
    assert read_stored_facts(tmp_path, CONTAINER).settled == ("secret or config c1", "secret or config s1")
    assert read_swarm_files(tmp_path, CONTAINER) == {"SwarmFiles": ["c1", "s1"]}


def test_a_container_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="dockerRoot"):
        read_stored_facts(tmp_path, "a" * 64)
    assert read_swarm_files(tmp_path, "a" * 64) == {}


def test_files_that_are_not_dockers_are_not_understood(tmp_path: Path, folder: Path) -> None:
    (folder / "config.v2.json").write_text("[]")
    with pytest.raises(Unavailable, match="not understood"):
        read_stored_facts(tmp_path, CONTAINER)
