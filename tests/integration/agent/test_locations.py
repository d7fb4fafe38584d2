"""The agent's view of StorageLocations in buckets: what it reports, and that none of them makes it wait."""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.locations import CHECK_LIMIT_S, Locations
from swarmkeep.errors import Unavailable
from swarmkeep.pki import authority
from swarmkeep.store.object_client import ObjectClient

from ...etcd_cluster import free_ports
from ...s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, FaultyProxy, running_server, settings, silent_port


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(tmp_path_factory.mktemp("s3")) as address:
        yield address


@pytest.fixture
def proxy(s3: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(s3)
    yield proxy
    proxy.close()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    return path


def bucket(keys: Path, address: str, *, known_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """A StorageLocation."""
    s3 = {"endpoint": f"http://{address}", "bucket": BUCKET, "prefix": keys.parent.name, "credentialsFile": str(keys)}
    return {"spec": {"s3": s3 | fields}, "status": {"id": known_id} if known_id else {}}


async def test_versions_go_into_a_bucket_and_another_node_reads_them(s3: str, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_bytes(b"content")
    first, second = Locations(), Locations()
    first.update({"offsite": bucket(keys, s3)})
    [report] = await first.check()
    assert (report["name"], report["reachable"], "message" in report) == ("offsite", True, False)

    await first.call("offsite", lambda it: it.put("default/redis.1", 1, tmp_path / "source", {}), 30)

    second.update({"offsite": bucket(keys, s3, known_id=report["id"])})
    await second.call("offsite", lambda it: it.get("default/redis.1", 1, tmp_path / "target"), 30)
    assert (tmp_path / "target/file").read_bytes() == b"content"
    assert await second.check() == [report]


async def test_a_bucket_that_was_emptied_is_not_begun_anew(s3: str, keys: Path) -> None:
    locations = Locations()
    locations.update({"offsite": bucket(keys, s3, known_id="11111111-2222-3333-4444-555555555555")})

    [report] = await locations.check()

    assert not report["reachable"]
    assert "is no location of SwarmKeep" in report["message"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bucket": "nowhere"}, "no such bucket"),
        ({"credentialsFile": "/nowhere/keys"}, "cannot be read on this node"),
        ({"profile": "other"}, "no profile"),
        ({"caFile": "/nowhere/ca"}, "spec.s3.caFile cannot be read"),
    ],
)
async def test_what_is_wrong_is_in_the_report(s3: str, keys: Path, fields: dict[str, str], words: str) -> None:
    locations = Locations()
    locations.update({"offsite": bucket(keys, s3, **fields)})

    [report] = await locations.check()

    assert not report["reachable"]
    assert words in report["message"]


async def test_what_the_server_lacks_is_in_the_report_and_harms_nothing(proxy: FaultyProxy, keys: Path) -> None:
    proxy.ignores_conditions = True
    locations = Locations()
    locations.update({"offsite": bucket(keys, proxy.address)})

    [report] = await locations.check()

    assert report["reachable"]
    assert "ignores If-None-Match" in report["message"]


async def test_the_report_says_why_even_while_all_work_waits(keys: Path) -> None:
    locations = Locations()
    locations.update({"offsite": bucket(keys, f"127.0.0.1:{free_ports(1)[0]}", known_id="x")})
    work = [
        asyncio.create_task(locations.call("offsite", lambda it: it.versions("default/redis.1"), 2)) for _ in range(8)
    ]
    await asyncio.sleep(0.2)

    [report] = await locations.check()

    assert "Connection refused" in report["message"]
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        assert isinstance(outcome, Unavailable)


async def test_a_server_that_never_answers_costs_its_limit_and_no_more(keys: Path, tmp_path: Path) -> None:
    with silent_port() as address:
        locations = Locations()
        folder = {"spec": {"filesystem": {"path": str(tmp_path)}}, "status": {}}
        locations.update({"main": folder, "offsite": bucket(keys, address)})
        begun = time.monotonic()

        reports = {report["name"]: report for report in await locations.check()}

        assert time.monotonic() - begun < CHECK_LIMIT_S + 2
        assert reports["main"]["reachable"]
        assert "not answered within" in reports["offsite"]["message"]


async def test_a_new_spec_takes_hold_at_once(s3: str, keys: Path) -> None:
    locations = Locations()
    locations.update({"offsite": bucket(keys, s3, bucket="nowhere")})
    assert not (await locations.check())[0]["reachable"]

    locations.update({"offsite": bucket(keys, s3)})

    assert (await locations.check())[0]["reachable"]


async def test_a_certificate_of_an_authority_of_ones_own_is_trusted_when_named(
    s3: str, keys: Path, tmp_path: Path
) -> None:
    authority.init(tmp_path / "pki")
    certificate, key = authority.issue(tmp_path / "pki", "etcd-server", "s3", ["127.0.0.1"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    proxy = FaultyProxy(s3, tls)
    try:
        locations = Locations()
        locations.update({"offsite": bucket(keys, s3, endpoint=f"https://{proxy.address}")})
        [report] = await locations.check()
        assert "its certificate is not trusted on this node; name its CA in spec.s3.caFile" in report["message"]

        fields = {"endpoint": f"https://{proxy.address}", "caFile": str(tmp_path / "pki/etcd-ca.crt")}
        locations.update({"offsite": bucket(keys, s3, **fields)})
        assert (await locations.check())[0]["reachable"]
    finally:
        proxy.close()


@pytest.mark.parametrize("weak", [False, True])
async def test_an_encrypted_bucket_shows_nothing_and_gives_all_back(
    proxy: FaultyProxy, keys: Path, tmp_path: Path, weak: bool
) -> None:
    proxy.ignores_conditions = proxy.ignores_offsets = weak
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(bytes(range(32))))
    key.chmod(0o600)
    (tmp_path / "source").mkdir()
    # Bytes that do not compress would lie in a pack as they are.
    secret = secrets.token_bytes(8192)
    (tmp_path / "source/file").write_bytes(secret)
    location = bucket(keys, proxy.address)
    location["spec"]["encryption"] = {"keyFile": str(key)}
    nodes = [Locations() for _ in range(3)]
    for node in nodes:
        node.update({"offsite": location})

    # All nodes meet the new location at once.
    reports = await asyncio.gather(*(node.check() for node in nodes))
    assert {(report["reachable"], report["id"]) for [report] in reports} == {(True, reports[0][0]["id"])}
    await nodes[0].call("offsite", lambda it: it.put("default/redis.1", 1, tmp_path / "source", {}), 30)
    await nodes[1].call("offsite", lambda it: it.get("default/redis.1", 1, tmp_path / "target"), 30)

    assert (tmp_path / "target/file").read_bytes() == secret
    client = ObjectClient(settings(proxy.address, keys.parent.name))
    for info in list(client.list("")):
        assert secret[:32] not in client.get(info.key, 1 << 20)
