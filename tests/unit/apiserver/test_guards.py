"""The headers that fence writes: the leader's token, and a node's lease that has run out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmkeep.apiserver.authn import Role, User
from swarmkeep.apiserver.node_leases import LONGEST_LEASE_S, NodeLeases
from swarmkeep.apiserver.status_errors import StatusError
from swarmkeep.etcd.election import Election
from swarmkeep.etcd.records import Delete

from .http_api import ADMIN, NODE_LEASES, WIDGETS, WORKLOADS, Api, Reply, widget

W = f"{WIDGETS}/w"
LEASE_S = 15


async def renew(api: Api, node: str, **spec: Any) -> Reply:
    """As the agent of that node, through another server or this."""
    before, api.user = api.user, User(node, Role.AGENT)
    spec = {"holderIdentity": node, "leaseDurationSeconds": LEASE_S, **spec}
    reply = await api.merge(f"{NODE_LEASES}/{node}", {"spec": spec})
    if reply.code == 404:
        reply = await api.create(NODE_LEASES, {"metadata": {"name": node}, "spec": spec})
    api.user = before
    assert reply.code in (200, 201)
    await seen(api)
    return reply


async def seen(api: Api) -> None:
    """Until the server's own view has caught up with etcd."""
    async with asyncio.timeout(5):
        while api.services.history.revision < api.etcd.revision:  # noqa: ASYNC110 - the view has nobody to tell
            await asyncio.sleep(0.01)


async def claim(api: Api, node: str, expired: str | None = None) -> Reply:
    before, api.user = api.user, User(node, Role.AGENT)
    headers = {"Swarmkeep-Expired-Lease": expired} if expired is not None else None
    known = (await api.get(f"{WORKLOADS}/w")).body.get("status") or {}
    epoch = int((known.get("claim") or {}).get("epoch") or 0) + 1
    reply = await api.merge(f"{WORKLOADS}/w/status", {"status": {"claim": {"node": node, "epoch": epoch}}}, headers)
    api.user = before
    return reply


@pytest.fixture
async def claimed(api: Api) -> Api:
    """A workload that n2 has, which is alive."""
    spec = {"policy": "p", "type": "ReplicatedTask", "service": {"id": "s", "name": "s"}, "slot": 1}
    made = await api.create(WORKLOADS, {"metadata": {"name": "w"}, "spec": spec})
    assert made.code == 201, made.message
    await renew(api, "n2", renewTime="2026-01-01T00:00:00.000001Z")
    assert (await claim(api, "n2")).code == 200
    return api


async def test_a_claim_of_a_living_node_is_not_taken(claimed: Api) -> None:
    refused = await claim(claimed, "n1")
    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert "n2" in refused.message
    alive = await claim(claimed, "n1", expired="n2")
    assert (alive.code, alive.reason) == (409, "LeaseAlive")
    assert alive.body["details"]["retryAfterSeconds"] == LEASE_S
    assert alive.headers["Retry-After-Ms"] == str(LEASE_S * 1000)
    claimed.clock.now += LEASE_S - 0.25
    nearly = await claim(claimed, "n1", expired="n2")
    assert (nearly.reason, nearly.headers["Retry-After-Ms"]) == ("LeaseAlive", "250")
    claimed.clock.now += 0.25
    taken = await claim(claimed, "n1", expired="n2")
    assert (taken.code, taken.body["status"]["claim"]["node"]) == (200, "n1")


async def test_a_renewal_starts_the_time_again(claimed: Api) -> None:
    claimed.clock.now += LEASE_S - 1
    await renew(claimed, "n2", renewTime="2026-01-01T00:00:14.000001Z")
    claimed.clock.now += LEASE_S - 1
    assert (await claim(claimed, "n1", expired="n2")).reason == "LeaseAlive"
    claimed.clock.now += 1
    assert (await claim(claimed, "n1", expired="n2")).code == 200


async def test_the_expired_lease_must_be_that_of_the_holder(claimed: Api) -> None:
    claimed.clock.now += 2 * LEASE_S
    for other in ("n3", "n1"):
        assert (await claim(claimed, "n1", expired=other)).code == 403


async def test_a_node_may_believe_in_a_deleted_lease_until_it_would_have_run_out(claimed: Api) -> None:
    assert (await claimed.call("DELETE", f"{NODE_LEASES}/n2")).code == 200
    await seen(claimed)
    refused = await claim(claimed, "n1", expired="n2")
    assert (refused.code, refused.reason) == (409, "LeaseAlive")
    assert "deleted" in refused.message
    claimed.clock.now += LEASE_S
    assert (await claim(claimed, "n1", expired="n2")).code == 200


async def test_a_lease_that_this_server_never_saw_may_have_been_long(claimed: Api) -> None:
    assert (await claimed.call("DELETE", f"{NODE_LEASES}/n2")).code == 200
    await seen(claimed)
    restarted = NodeLeases(claimed.clock)
    await restarted.load(claimed.etcd)
    with pytest.raises(StatusError, match="deleted"):
        restarted.expired("n2", None)
    claimed.clock.now += LONGEST_LEASE_S
    assert restarted.expired("n2", None).revision == 0


async def test_a_deletion_that_was_missed_counts_from_when_it_is_noticed(claimed: Api) -> None:
    leases = NodeLeases(claimed.clock)
    await leases.load(claimed.etcd)
    claimed.clock.now += 100
    assert (await claimed.call("DELETE", f"{NODE_LEASES}/n2")).code == 200
    await leases.load(claimed.etcd)
    with pytest.raises(StatusError, match="deleted"):
        leases.expired("n2", None)
    claimed.clock.now += LEASE_S
    assert leases.expired("n2", None).revision == 0


async def test_a_lease_that_comes_back_counts_anew(claimed: Api) -> None:
    assert (await claimed.call("DELETE", f"{NODE_LEASES}/n2")).code == 200
    await renew(claimed, "n2", renewTime="2026-01-01T00:00:00.000001Z")
    claimed.clock.now += LEASE_S - 1
    assert (await claim(claimed, "n1", expired="n2")).reason == "LeaseAlive"
    claimed.clock.now += 1
    assert (await claim(claimed, "n1", expired="n2")).code == 200


async def test_a_renewal_that_this_server_has_not_seen_counts(claimed: Api) -> None:
    claimed.clock.now += 2 * LEASE_S
    claimed.services.node_leases.observe = lambda event: None  # type: ignore[method-assign]
    await renew(claimed, "n2", renewTime="2026-01-01T00:00:20.000001Z")
    alive = await claim(claimed, "n1", expired="n2")
    assert (alive.code, alive.reason) == (409, "LeaseAlive")
    claimed.clock.now += 10 * LEASE_S
    assert (await claim(claimed, "n1", expired="n2")).reason == "LeaseAlive", "it cannot know when that was"


async def test_a_renewal_between_judgement_and_write_wins(claimed: Api) -> None:
    claimed.clock.now += 2 * LEASE_S
    txn = claimed.etcd.txn

    async def overtaken(*args: Any, **kwargs: Any) -> Any:
        claimed.etcd.txn = txn  # type: ignore[method-assign]
        await renew(claimed, "n2", renewTime="2026-01-01T00:00:20.000001Z")
        return await txn(*args, **kwargs)

    claimed.etcd.txn = overtaken  # type: ignore[method-assign]
    lost = await claim(claimed, "n1", expired="n2")
    assert (lost.code, lost.reason) == (409, "LeaseAlive")
    assert (await claimed.get(f"{WORKLOADS}/w")).body["status"]["claim"]["node"] == "n2"


async def test_a_new_server_gives_every_lease_its_whole_time(claimed: Api) -> None:
    claimed.clock.now += 2 * LEASE_S
    view = claimed.services.node_leases
    view._seen.clear()
    await view.load(claimed.etcd)
    assert (await claim(claimed, "n1", expired="n2")).reason == "LeaseAlive"
    claimed.clock.now += LEASE_S
    assert (await claim(claimed, "n1", expired="n2")).code == 200


async def test_reading_the_leases_again_does_not_make_them_younger(claimed: Api) -> None:
    claimed.clock.now += LEASE_S
    await claimed.services.node_leases.load(claimed.etcd)
    assert (await claim(claimed, "n1", expired="n2")).code == 200


async def test_a_lease_that_does_not_say_how_long_it_lasts_never_ends(claimed: Api) -> None:
    await renew(claimed, "n2", leaseDurationSeconds=None)
    claimed.clock.now += 1000 * LEASE_S
    assert (await claim(claimed, "n1", expired="n2")).reason == "LeaseAlive"


async def test_only_the_leader_of_the_token_writes(api: Api) -> None:
    election = Election(api.etcd, "operator", "o", 60)
    fence = {"Swarmkeep-Fence": f"operator={await election.campaign()}"}
    api.user = User("o", Role.OPERATOR)
    api.user = ADMIN
    assert (await api.call("POST", WIDGETS, widget(), headers=fence)).code == 201
    assert (await api.merge(W, {"spec": {"size": 2}}, fence)).code == 200
    await api.etcd.txn([], [Delete("/swarmkeep/election/operator")])
    attempts = [
        await api.merge(W, {"spec": {"size": 3}}, fence),
        await api.merge(W, {"spec": {"size": 2}}, fence),  # changes nothing, and is no less refused
        await api.merge(W, {"spec": {"size": 3}}, fence, dryRun="All"),
        await api.call("PUT", W, widget(size=3), headers=fence),
        await api.call("DELETE", W, headers=fence),
        await api.call("POST", WIDGETS, widget("v"), headers=fence),
    ]
    assert [(reply.code, reply.reason) for reply in attempts] == [(409, "FencedOff")] * len(attempts)
    assert (await api.get(WIDGETS)).names == ["w"]
    assert (await api.get(W)).body["spec"]["size"] == 2
    await election.resign()


async def test_the_token_of_another_term_is_worth_nothing(api: Api) -> None:
    first = Election(api.etcd, "operator", "first", 60)
    old = await first.campaign()
    await first.resign()
    second = Election(api.etcd, "operator", "second", 60)
    new = await second.campaign()
    for token, code in ((old, 409), (new, 201)):
        reply = await api.call("POST", WIDGETS, widget(), headers={"Swarmkeep-Fence": f"operator={token}"})
        assert reply.code == code
    await second.resign()


@pytest.mark.parametrize(
    "headers",
    [
        {"Swarmkeep-Fence": "operator"},
        {"Swarmkeep-Fence": "operator=0"},
        {"Swarmkeep-Fence": "../x=5"},
        {"Swarmkeep-Fence": ""},
        {"Swarmkeep-Expired-Lease": ""},
        {"Swarmkeep-Expired-Lease": "a/b"},
    ],
)
async def test_a_condition_that_cannot_be_read_is_refused(api: Api, headers: dict[str, str]) -> None:
    reply = await api.call("POST", WIDGETS, widget(), headers=headers)
    assert (reply.code, reply.reason) == (400, "BadRequest")


async def test_roles_are_kept_over_http(api: Api) -> None:
    await api.create(WIDGETS, widget())
    api.user = User("x", Role.NONE)
    assert (await api.get(WIDGETS)).code == 403
    assert (await api.get("/version")).code == 200
    api.user = User("n1", Role.AGENT)
    assert (await api.get(W)).code == 200
    refused = await api.merge(W, {"spec": {"size": 2}})
    assert (refused.code, refused.reason) == (403, "Forbidden")
    assert refused.message.startswith('widgets.example.dev "w" is forbidden: User "n1" cannot patch resource "widgets"')
    nodes = "/apis/swarmkeep.dev/v1alpha1/nodes"
    assert (await api.create(nodes, {"metadata": {"name": "n2"}, "spec": {}})).code == 403
    named_after_the_fact = {"metadata": {"generateName": "n"}, "spec": {}}
    assert (await api.create(nodes, named_after_the_fact)).code == 403
    assert (await api.create(nodes, {"metadata": {"name": "n1"}, "spec": {}})).code == 201
