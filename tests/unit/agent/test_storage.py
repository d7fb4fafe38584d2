"""From a StorageLocation's spec, and the files that it names, to storage."""

from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.storage import object_settings, open_storage, read_credentials
from swarmkeep.errors import HostError, InvalidObject, SwarmKeepError, Unavailable
from swarmkeep.store.blob_limit import LimitedBlobStore
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.blob_retry import RetryingBlobStore

KEYS = """\
# made by hand
[default]
aws_access_key_id = AKIA1
aws_secret_access_key = s3cr/et+%1=
[temporary]
aws_access_key_id=AKIA2
aws_secret_access_key=other
aws_session_token=token
[half]
aws_access_key_id=AKIA3
aws_secret_access_key=
"""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(KEYS)
    return path


def s3(keys: Path, **fields: Any) -> dict[str, Any]:
    return {"endpoint": "https://s3.example:9000", "bucket": "b", "credentialsFile": str(keys), **fields}


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    storage = open_storage({"filesystem": {"path": str(tmp_path)}})
    assert isinstance(storage.blobs, LocalBlobStore)
    assert storage.examine() == ()


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="create it or mount it"):
        open_storage({"filesystem": {"path": str(tmp_path / "missing")}})


def test_a_bucket_is_worked_on_with_patience_and_looked_at_without(keys: Path) -> None:
    storage = open_storage({"s3": s3(keys)})
    assert isinstance(storage.blobs, RetryingBlobStore)
    assert not isinstance(storage.direct, RetryingBlobStore)
    assert storage.direct.description == storage.blobs.description == "bucket b at s3.example:9000"


def test_a_limit_holds_for_either(tmp_path: Path, keys: Path) -> None:
    folder = open_storage({"filesystem": {"path": str(tmp_path)}, "bandwidthLimit": "10Mi"})
    assert isinstance(folder.blobs, LimitedBlobStore)
    assert open_storage({"s3": s3(keys), "bandwidthLimit": "10Mi"}).blobs.description.startswith("bucket")


@pytest.mark.parametrize("limit", ["1", "0.1", "63Ki"])
def test_a_limit_that_lets_nothing_through_is_refused(tmp_path: Path, limit: str) -> None:
    with pytest.raises(InvalidObject, match="the least is 65536"):
        open_storage({"filesystem": {"path": str(tmp_path)}, "bandwidthLimit": limit})


def test_exactly_one_kind_of_storage(tmp_path: Path, keys: Path) -> None:
    for spec in ({}, {"filesystem": {"path": str(tmp_path)}, "s3": s3(keys)}, {"filesystem": None}):
        with pytest.raises(InvalidObject, match="exactly one"):
            open_storage(spec)


def test_the_spec_and_its_files_make_the_settings(keys: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(b"pem")
    fields = {"profile": "temporary", "prefix": "p/q", "region": "eu-1", "caFile": str(ca)}
    settings = object_settings(s3(keys, endpoint="https://e/", **fields))
    assert (settings.endpoint, settings.bucket, settings.prefix) == ("https://e", "b", "p/q")
    assert (settings.access_key, settings.secret_key, settings.session_token) == ("AKIA2", "other", "token")
    assert (settings.region, settings.ca) == ("eu-1", b"pem")
    assert settings.description == "bucket b/p/q at e"

    plain = object_settings(s3(keys))
    assert (plain.access_key, plain.secret_key) == ("AKIA1", "s3cr/et+%1=")
    assert (plain.session_token, plain.region, plain.ca, plain.prefix) == (None, "us-east-1", None, "")


@pytest.mark.parametrize(
    ("content", "profile", "words"),
    [
        (None, "default", "cannot be read on this node"),
        (KEYS, "missing", r"no profile \[missing\]"),
        (KEYS, "half", r"no aws_secret_access_key below \[half\]"),
        ("aws_secret_access_key = hush", "default", "is no credentials file"),
        ("[default]\naws_access_key_id = hush\naws_access_key_id = hush", "default", "is no credentials file"),
        (b"\xff\xfehush", "default", "is no credentials file"),
    ],
)
def test_bad_credentials_say_what_is_wrong_and_no_secret(
    tmp_path: Path, content: str | bytes | None, profile: str, words: str
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HostError, match=words) as raised:
        read_credentials(path, profile)
    assert "hush" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_secret_is_in_no_error_and_no_description(keys: Path) -> None:
    storage = open_storage({"s3": s3(keys, endpoint="http://127.0.0.1:1")})
    with pytest.raises(SwarmKeepError) as raised:
        storage.direct.get("k", 1)
    shown = f"{raised.value} {raised.value.__cause__} {storage.direct.description}"
    assert "s3cr" not in shown
    assert "AKIA1" not in shown
