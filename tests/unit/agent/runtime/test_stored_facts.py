"""A container out of Docker's own files."""

import json
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.runtime.stored_facts import read_references, read_stored_facts
from swarmkeep.errors import NotFound, Unavailable

from .test_facts import INSPECTION

SECRETS = [{"File": {"Name": "word"}, "SecretID": "s1", "SecretName": "word"}]


def write(root: Path, **more: Any) -> str:
    """Writes the example as Docker does; returns its id."""
    stored = {
        "ID": INSPECTION["Id"],
        **{key: INSPECTION[key] for key in ("Name", "Created", "Image", "Config", "State")},
    }
    folder = root / "containers" / INSPECTION["Id"]
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text(json.dumps(stored | more))
    (folder / "hostconfig.json").write_text(json.dumps(INSPECTION["HostConfig"]))
    return str(INSPECTION["Id"])


def test_secrets_and_configs_are_told_by_the_files_alone(tmp_path: Path) -> None:
    container = write(tmp_path, SecretReferences=SECRETS, ConfigReferences=None)
    assert read_stored_facts(tmp_path, container).settled == ("secret s1 word",)
    assert read_references(tmp_path, container) == {"SecretReferences": SECRETS}


def test_a_container_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    for read in (read_stored_facts, read_references):
        with pytest.raises(NotFound, match="dockerRoot"):
            read(tmp_path, "a" * 64)


def test_files_that_are_not_dockers_are_not_understood(tmp_path: Path) -> None:
    container = write(tmp_path)
    (tmp_path / "containers" / container / "config.v2.json").write_text("[]")
    for read in (read_stored_facts, read_references):
        with pytest.raises(Unavailable, match="not understood"):
            read(tmp_path, container)
