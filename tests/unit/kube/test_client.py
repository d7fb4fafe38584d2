"""The client against a real HTTP server that misbehaves."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from swarmkeep import errors
from swarmkeep.kube.answers import AlreadyExists, ApiUnavailable, FencedOff, Gone, LeaseAlive
from swarmkeep.kube.client import Client, EventType, Fence, PatchType, object_path
from swarmkeep.model.kinds import EVENT, NODE, WORKLOAD

UNREACHABLE = "http://127.0.0.1:1"
OBJECT = {"metadata": {"name": "redis.1"}, "spec": {"policy": "redis"}}


async def watched(client: Client, version: str = "10", **options: Any) -> list[Any]:
    return [event async for event in client.watch(WORKLOAD, "default", resource_version=version, **options)]


async def test_gets_an_object(api: Any, client: Client) -> None:
    api.put("redis.1", spec={"policy": "redis"})
    assert (await client.get(WORKLOAD, "redis.1", "default"))["spec"] == {"policy": "redis"}


async def test_a_missing_object_is_not_found_in_the_servers_words(client: Client) -> None:
    with pytest.raises(errors.NotFound, match="no such workload"):
        await client.get(WORKLOAD, "redis.1", "default")


async def test_a_namespaced_object_without_namespace_is_a_mistake_of_the_caller(client: Client) -> None:
    with pytest.raises(errors.InvalidObject, match="needs a namespace"):
        await client.get(WORKLOAD, "redis.1")


@pytest.mark.parametrize(
    ("name", "path"), [("n1", "n1"), ("a/b", "a%2Fb"), ("a?watch=1", "a%3Fwatch%3D1"), ("../x", "..%2Fx")]
)
def test_a_name_is_one_step_of_the_path_whatever_it_holds(name: str, path: str) -> None:
    assert object_path(NODE, name) == f"/apis/swarmkeep.dev/v1alpha1/nodes/{path}"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_would_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(errors.InvalidObject, match="cannot be a name"):
        object_path(NODE, name)


def test_core_kinds_have_a_path_of_their_own() -> None:
    assert object_path(EVENT, "e", "default") == "/api/v1/namespaces/default/events/e"


async def test_lists_all_pages(api: Any, client: Client) -> None:
    for number in range(7):
        api.put(f"redis.{number}")
    api.page_size = 3
    listed = await client.list(WORKLOAD, "default", labels="a=b")
    assert [item["metadata"]["name"] for item in listed.items] == [f"redis.{number}" for number in range(7)]
    assert listed.resource_version == "17"
    assert [request.query["labelSelector"] for request in api.requests] == ["a=b"] * 3


async def test_a_list_that_was_compacted_between_two_pages_is_read_in_one(
    api: Any, client: Client, faults: SimpleNamespace
) -> None:
    for number in range(4):
        api.put(f"redis.{number}")
    api.page_size = 3
    served = api._list

    def compacted_after_the_first_page(request: Any) -> Any:
        api.faults.append(faults.answers(410, "Expired"))
        api._list = served
        return served(request)

    api._list = compacted_after_the_first_page
    assert len((await client.list(WORKLOAD, "default")).items) == 4


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (400, "BadRequest", errors.InvalidObject),
        (401, "Unauthorized", errors.Forbidden),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (409, "FencedOff", FencedOff),
        (409, "LeaseAlive", LeaseAlive),
        (410, "Expired", Gone),
        (413, "RequestEntityTooLarge", errors.InvalidObject),
        (415, "UnsupportedMediaType", errors.InvalidObject),
        (422, "Invalid", errors.InvalidObject),
        (500, "InternalError", errors.Unavailable),
        (503, "ServiceUnavailable", errors.Unavailable),
    ],
)
async def test_each_refusal_has_its_class(
    api: Any, faults: SimpleNamespace, code: int, reason: str, error: type[errors.SwarmKeepError]
) -> None:
    async with Client([api.url], None, timeout_s=0.2) as client:
        api.faults += [faults.answers(code, reason, "because")] * 20
        with pytest.raises(error, match="because"):
            await client.patch(WORKLOAD, "redis.1", {}, "default")


async def test_a_live_lease_says_when_to_ask_again(api: Any, client: Client, faults: SimpleNamespace) -> None:
    api.faults.append(faults.answers(409, "LeaseAlive", Retry_After_Ms="1250"))
    with pytest.raises(LeaseAlive) as caught:
        await client.patch(WORKLOAD, "redis.1", {}, "default", subresource="status", expired_lease="n1")
    assert caught.value.retry_after_s == 1.25
    assert caught.value.reason == "LeaseAlive"
    assert api.requests[0].headers["Swarmkeep-Expired-Lease"] == "n1"
    assert api.requests[0].path.endswith("/redis.1/status")


async def test_a_fenced_write_names_the_election(api: Any, client: Client) -> None:
    api.put("redis.1")
    await client.patch(WORKLOAD, "redis.1", [], "default", patch_type=PatchType.JSON, fence=Fence(42))
    assert api.requests[0].headers["Swarmkeep-Fence"] == "operator=42"
    assert api.requests[0].headers["Content-Type"] == "application/json-patch+json"


async def test_apply_names_its_manager_and_the_whole_object(api: Any, client: Client) -> None:
    api.put("redis.1")
    await client.apply(WORKLOAD, OBJECT, "default", field_manager="me", force=True, dry_run=True, strict=True)
    assert dict(api.requests[0].query) == {
        "fieldManager": "me",
        "force": "true",
        "dryRun": "All",
        "fieldValidation": "Strict",
    }
    assert json.loads(api.bodies[0])["kind"] == "Workload"


async def test_the_namespace_of_a_new_object_may_stand_in_it(api: Any, client: Client) -> None:
    await client.create(WORKLOAD, {"metadata": {"name": "redis.1", "namespace": "shop"}})
    assert api.requests[0].path == "/apis/swarmkeep.dev/v1alpha1/namespaces/shop/workloads"


async def test_a_server_that_refuses_connections_is_passed_over_and_not_asked_again(api: Any) -> None:
    api.put("redis.1")
    async with Client([UNREACHABLE, api.url], None, timeout_s=2.0) as client:
        await client.get(WORKLOAD, "redis.1", "default")
        assert client.transport._good == 1
        await client.get(WORKLOAD, "redis.1", "default")
    assert len(api.requests) == 2


async def test_a_server_without_its_store_is_passed_over(api: Any, faults: SimpleNamespace) -> None:
    other = faults.scripted_api()
    await other.start()
    other.put("redis.1")
    api.faults += [faults.answers(503, "ServiceUnavailable")]
    async with Client([api.url, other.url], None, timeout_s=2.0) as client:
        await client.get(WORKLOAD, "redis.1", "default")
    assert (len(api.requests), len(other.requests)) == (1, 1)
    await other.stop()


async def test_a_server_that_hangs_leaves_time_for_the_next(api: Any, faults: SimpleNamespace) -> None:
    other = faults.scripted_api()
    await other.start()
    other.put("redis.1")
    api.faults += [faults.hangs]
    async with Client([api.url, other.url], None, timeout_s=1.0) as client:
        await client.get(WORKLOAD, "redis.1", "default")
    await other.stop()


async def test_a_short_outage_is_waited_for(api: Any, client: Client, faults: SimpleNamespace) -> None:
    api.put("redis.1")
    api.faults += [faults.answers(503, "ServiceUnavailable"), faults.cuts, faults.answers(429, "TooManyRequests")]
    assert await client.get(WORKLOAD, "redis.1", "default")


async def test_no_call_takes_longer_than_its_limit(api: Any, faults: SimpleNamespace) -> None:
    api.faults += [faults.hangs] * 5
    async with Client([api.url, UNREACHABLE], None, timeout_s=0.5) as client:
        started = time.monotonic()
        with pytest.raises(errors.Unavailable):
            await client.list(WORKLOAD)
    assert time.monotonic() - started < 1.0


async def test_a_person_is_told_at_once_that_nothing_listens() -> None:
    async with Client([UNREACHABLE], None, timeout_s=5.0, insist=False) as client:
        started = time.monotonic()
        with pytest.raises(errors.Unavailable, match=r"cannot reach http://127.0.0.1:1: Connection refused"):
            await client.get(NODE, "n1")
    assert time.monotonic() - started < 1.0


async def test_a_broken_connection_leaves_a_create_in_doubt_and_it_is_not_sent_again(
    api: Any, client: Client, faults: SimpleNamespace
) -> None:
    api.faults += [faults.cuts]
    with pytest.raises(errors.Unavailable, match="may or may not have been carried out"):
        await client.create(WORKLOAD, OBJECT, "default")
    assert len(api.requests) == 1


async def test_a_merge_patch_is_sent_again_over_a_new_connection(
    api: Any, client: Client, faults: SimpleNamespace
) -> None:
    api.put("redis.1")
    api.faults += [faults.cuts]
    await client.patch(WORKLOAD, "redis.1", {"status": {}}, "default")
    assert len(api.requests) == 2


async def test_a_patch_that_names_a_version_is_not_sent_twice(
    api: Any, client: Client, faults: SimpleNamespace
) -> None:
    api.faults += [faults.cuts]
    with pytest.raises(errors.Unavailable, match="may or may not"):
        await client.patch(WORKLOAD, "redis.1", {"metadata": {"resourceVersion": "5"}}, "default")


async def test_warnings_are_handed_on(api: Any, client: Client, faults: SimpleNamespace) -> None:
    heard: list[str] = []
    client.transport.on_warning = heard.append
    api.faults.append(faults.answers(404, "NotFound", Warning='299 - "unknown field \\"spec.x\\""'))
    with pytest.raises(errors.NotFound):
        await client.get(WORKLOAD, "redis.1", "default")
    assert heard == ['unknown field "spec.x"']


async def test_a_watch_gives_events_in_order_and_ends_with_the_stream(
    api: Any, client: Client, faults: SimpleNamespace
) -> None:
    bookmark = {"metadata": {"resourceVersion": "12"}}
    first = api.put("redis.1")
    api.faults += [faults.streams(faults.line("ADDED", first), faults.line("BOOKMARK", bookmark))]
    events = await watched(client)
    assert [(event.type, event.resource_version) for event in events] == [
        (EventType.ADDED, "11"),
        (EventType.BOOKMARK, "12"),
    ]
    assert api.requests[0].query["allowWatchBookmarks"] == "true"


async def test_watch_lines_may_be_long_and_come_in_pieces(api: Any, client: Client, faults: SimpleNamespace) -> None:
    whole = faults.line("ADDED", api.put("redis.1", spec={"text": "x" * 3_000_000}))
    pieces = [whole[start : start + 100_000] for start in range(0, len(whole), 100_000)]
    api.faults += [faults.streams(*pieces)]
    (event,) = await watched(client)
    assert len(event.object["spec"]["text"]) == 3_000_000


async def test_half_a_line_at_the_end_of_a_stream_is_dropped(api: Any, client: Client, faults: SimpleNamespace) -> None:
    whole = faults.line("ADDED", api.put("redis.1"))
    api.faults += [faults.streams(whole, whole[:40])]
    assert len(await watched(client)) == 1


async def test_a_watch_that_is_cut_says_so(api: Any, client: Client, faults: SimpleNamespace) -> None:
    whole = faults.line("ADDED", api.put("redis.1"))
    api.faults += [faults.streams(whole, whole[:40], then="cut")]
    with pytest.raises(errors.Unavailable, match="connection broke"):
        await watched(client)


async def test_a_watch_too_far_back_is_gone(api: Any, client: Client) -> None:
    api.put("redis.1")
    api.compact()
    with pytest.raises(Gone, match="too old"):
        await watched(client, "5")


async def test_a_silent_watch_is_given_up(api: Any, client: Client, faults: SimpleNamespace) -> None:
    api.faults += [faults.streams(then="silence")]
    with pytest.raises(errors.Unavailable, match=r"nothing heard for 0\.2s"):
        await watched(client, silence_limit_s=0.2)


async def test_a_line_that_is_no_event_ends_the_watch_with_its_text(
    api: Any, client: Client, faults: SimpleNamespace
) -> None:
    api.faults += [faults.streams(b"<html>sorry</html>\n")]
    with pytest.raises(ApiUnavailable, match="<html>sorry"):
        await watched(client)


async def test_an_answer_that_is_no_json_is_reported_as_such(api: Any, faults: SimpleNamespace) -> None:
    from aiohttp import web

    async def proxy_page(request: Any) -> web.Response:
        return web.Response(text="<html>login</html>", content_type="text/html")

    api.faults += [proxy_page]
    async with Client([api.url], None, timeout_s=0.5) as client:
        with pytest.raises(errors.Unavailable, match="is this our API"):
            await client.get(NODE, "n1")
