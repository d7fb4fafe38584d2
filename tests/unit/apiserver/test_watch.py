"""GET with watch=true."""

from __future__ import annotations

import json

import pytest

from swarmkeep.apiserver import watch

from .http_api import WIDGETS, Api, widget


async def test_a_watch_goes_on_where_the_list_ended(api: Api) -> None:
    await api.create(WIDGETS, widget("before"))
    version = (await api.get(WIDGETS)).version
    async with api.watch(WIDGETS, resourceVersion=version) as stream:
        made = await api.create(WIDGETS, widget("w"))
        assert await stream.next() == ("ADDED", made.body)
        changed = await api.merge(f"{WIDGETS}/w", {"spec": {"size": 2}})
        assert await stream.next() == ("MODIFIED", changed.body)
        await api.merge(f"{WIDGETS}/w", {"spec": {"size": 2}})
        await api.call("DELETE", f"{WIDGETS}/w")
        kind, obj = await stream.next()
        assert (kind, obj["spec"]["size"]) == ("DELETED", 2)
        assert int(obj["metadata"]["resourceVersion"]) > int(changed.version)


@pytest.mark.parametrize("version", ["", "0"])
async def test_without_a_version_everything_there_comes_first(api: Api, version: str) -> None:
    await api.create(WIDGETS, widget("a"))
    async with api.watch(WIDGETS, resourceVersion=version) as stream:
        kind, obj = await stream.next()
        assert (kind, obj["metadata"]["name"]) == ("ADDED", "a")
        await api.create(WIDGETS, widget("b"))
        assert (await stream.next())[1]["metadata"]["name"] == "b"


async def test_initial_events_end_with_a_bookmark(api: Api) -> None:
    await api.create(WIDGETS, widget("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(WIDGETS, **query) as stream:
        assert (await stream.next())[0] == "ADDED"
        kind, obj = await stream.next()
        assert (kind, obj["kind"]) == ("BOOKMARK", "Widget")
        assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert obj["metadata"]["resourceVersion"] == (await api.get(WIDGETS)).version


async def test_history_is_replayed(api: Api) -> None:
    start = (await api.get(WIDGETS)).version
    for size in (1, 2, 3):
        await api.create(WIDGETS, widget(f"w{size}", size=size))
    async with api.watch(WIDGETS, resourceVersion=start) as stream:
        assert [(await stream.next())[1]["spec"]["size"] for _ in range(3)] == [1, 2, 3]


async def test_other_kinds_namespaces_and_names_do_not_show(api: Api) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
    start = (await api.get(WIDGETS)).version
    everywhere = "/apis/example.dev/v1/widgets"
    named = {"fieldSelector": "metadata.name=w", "resourceVersion": start}
    async with (
        api.watch(WIDGETS, resourceVersion=start) as here,
        api.watch(everywhere, resourceVersion=start) as all_,
        api.watch(WIDGETS, **named) as one,
    ):
        await api.create(WIDGETS.replace("default", "n"), widget("elsewhere"))
        await api.create(WIDGETS, widget("other"))
        await api.create(WIDGETS, widget("w"))
        assert [(await here.next())[1]["metadata"]["name"] for _ in range(2)] == ["other", "w"]
        assert [(await all_.next())[1]["metadata"]["name"] for _ in range(3)] == ["elsewhere", "other", "w"]
        assert (await one.next())[1]["metadata"]["name"] == "w"


async def test_with_a_selector_objects_come_and_go_as_they_match(api: Api) -> None:
    start = (await api.get(WIDGETS)).version
    async with (
        api.watch(WIDGETS, resourceVersion=start, labelSelector="on=yes") as by_label,
        api.watch(WIDGETS, resourceVersion=start, fieldSelector="spec.color=green") as by_field,
    ):
        await api.create(WIDGETS, widget("w", metadata={"labels": {"on": "no"}}))
        for label, color in (("yes", "green"), ("yes", "green"), ("no", "red"), ("yes", "green")):
            patch = {"metadata": {"labels": {"on": label}}, "spec": {"color": color}}
            await api.merge(f"{WIDGETS}/w", patch)
            await api.merge(f"{WIDGETS}/w", {"metadata": {"annotations": {"touched": color}}})
        await api.call("DELETE", f"{WIDGETS}/w")
        expected = ["ADDED", "MODIFIED", "DELETED", "ADDED", "MODIFIED", "DELETED"]
        for stream in (by_label, by_field):
            seen = [await stream.next() for _ in range(6)]
            assert [kind for kind, _ in seen] == expected
            versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in seen]
            assert versions == sorted(set(versions))
            # What leaves the selection is shown as it last matched.
            assert seen[2][1]["spec"]["color"] == "green"


async def test_what_is_too_old_is_said_within_the_stream(api: Api) -> None:
    api.services.history.restart(begins_after=api.etcd.revision)
    async with api.watch(WIDGETS, resourceVersion="2") as stream:
        kind, status = await stream.next()
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        assert await stream.ended()


async def test_a_version_from_the_future_is_no_version_of_ours(api: Api) -> None:
    async with api.watch(WIDGETS, resourceVersion="999999") as stream:
        kind, status = await stream.next()
        assert (kind, status["code"]) == ("ERROR", 410)
        assert await stream.ended()


async def test_a_gap_ends_streams_so_that_clients_list_again(api: Api) -> None:
    async with api.watch(WIDGETS, resourceVersion=(await api.get(WIDGETS)).version) as stream:
        api.services.history.restart(begins_after=api.etcd.revision + 10)
        kind, status = await stream.next()
        assert (kind, status["code"]) == ("ERROR", 410)
        assert await stream.ended()


async def test_bookmarks_come_only_to_those_who_ask(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BOOKMARK_S", 0.1)
    start = (await api.get(WIDGETS)).version
    async with (
        api.watch(WIDGETS, resourceVersion=start, allowWatchBookmarks="true") as asking,
        api.watch(WIDGETS, resourceVersion=start) as silent,
    ):
        await api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
        version = (await api.get(WIDGETS)).version
        for _ in range(20):
            kind, obj = await asking.next()
            assert (kind, set(obj["metadata"])) == ("BOOKMARK", {"resourceVersion", "creationTimestamp"})
            if obj["metadata"]["resourceVersion"] == version:
                break
        else:
            raise AssertionError("bookmarks do not move on with what happens to other kinds")
        assert await silent.nothing(0.3)


async def test_a_stream_ends_when_its_time_is_over(api: Api) -> None:
    async with api.watch(WIDGETS, timeoutSeconds="1") as stream:
        assert await stream.ended()


async def test_a_stream_ends_when_the_server_stops(api: Api) -> None:
    async with api.watch(WIDGETS) as stream:
        api.services.history.close()
        assert await stream.ended()


async def test_a_client_that_goes_leaves_nothing_behind(api: Api) -> None:
    async with api.watch(WIDGETS, resourceVersion=(await api.get(WIDGETS)).version) as stream:
        assert await stream.nothing(0.05)
        assert api.services.history.subscriptions == 1
    await api.until("/version", lambda _: api.services.history.subscriptions == 0)


@pytest.mark.parametrize(
    "query", [{"resourceVersion": "x"}, {"timeoutSeconds": "soon"}, {"fieldSelector": "spec.size=1"}]
)
async def test_a_watch_that_makes_no_sense_is_refused_before_it_begins(api: Api, query: dict[str, str]) -> None:
    assert (await api.get(WIDGETS, watch="true", **query)).code == 400


async def test_before_etcd_is_followed_there_are_no_watches(api: Api) -> None:
    api.services.hub.ready.clear()
    reply = await api.get(WIDGETS, watch="1")
    assert (reply.code, reply.headers["Retry-After"]) == (503, "1")


async def test_a_table_is_watched_row_by_row(api: Api) -> None:
    await api.create(WIDGETS, widget("a"))
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with api.client.get(WIDGETS, params={"watch": "true"}, headers=accept) as response:
        first = json.loads(await response.content.readline())["object"]
        await api.create(WIDGETS, widget("b"))
        second = json.loads(await response.content.readline())["object"]
    assert (first["kind"], first["rows"][0]["cells"][0]) == ("Table", "a")
    assert first["columnDefinitions"]
    assert (second["columnDefinitions"], second["rows"][0]["cells"][0]) == ([], "b")


def test_the_bookmark_comes_before_kopf_loses_patience() -> None:
    assert watch.BOOKMARK_S < 60
