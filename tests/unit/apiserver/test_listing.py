"""GET of collections."""

from __future__ import annotations

import pytest

from .http_api import WIDGETS, Api, widget

EVERYWHERE = "/apis/example.dev/v1/widgets"


@pytest.fixture
async def five(api: Api) -> None:
    for index, name in enumerate("abcde"):
        labels = {"odd": str(index % 2), "name": name}
        color = "green" if index > 2 else "red"
        assert (await api.create(WIDGETS, widget(name, color=color, metadata={"labels": labels}))).code == 201


async def test_a_list_has_a_version_and_its_objects_theirs(api: Api, five: None) -> None:
    reply = await api.get(WIDGETS)
    assert (reply.body["kind"], reply.body["apiVersion"]) == ("WidgetList", "example.dev/v1")
    assert reply.names == list("abcde")
    assert reply.version == reply.body["items"][-1]["metadata"]["resourceVersion"]
    assert [item["kind"] for item in reply.body["items"]] == ["Widget"] * 5
    assert (await api.get(f"{WIDGETS}/", resourceVersion="0")).names == reply.names, "a slash at the end means nothing"


async def test_namespaces_are_apart_and_together(api: Api, five: None) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": "default-2"}})
    await api.create(WIDGETS.replace("default", "default-2"), widget("x"))
    assert (await api.get(WIDGETS)).names == list("abcde")
    assert (await api.get(EVERYWHERE)).names == ["x", *"abcde"], "in the order of the keys"
    assert (await api.get(EVERYWHERE, fieldSelector="metadata.namespace=default-2")).names == ["x"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"labelSelector": "odd=1"}, "bd"),
        ({"labelSelector": "name in (a,e),odd!=1"}, "ae"),
        ({"labelSelector": "!odd"}, ""),
        ({"fieldSelector": "metadata.name=c"}, "c"),
        ({"fieldSelector": "metadata.name=c,"}, "c"),
        ({"fieldSelector": "metadata.name=c,spec.color=green"}, ""),
        ({"fieldSelector": "metadata.name=z"}, ""),
        ({"fieldSelector": "spec.color=green", "labelSelector": "odd=0"}, "e"),
        ({"fieldSelector": "metadata.name!=a", "limit": "500"}, "bcde"),
    ],
)
async def test_selectors(api: Api, five: None, query: dict[str, str], names: str) -> None:
    assert (await api.get(WIDGETS, **query)).names == list(names)


async def test_pages_show_one_instant(api: Api, five: None) -> None:
    first = await api.get(WIDGETS, limit="2")
    assert (first.names, first.body["metadata"]["remainingItemCount"]) == (["a", "b"], 3)
    await api.call("DELETE", f"{WIDGETS}/c")
    await api.create(WIDGETS, widget("bb"))
    second = await api.get(WIDGETS, limit="2", **{"continue": first.body["metadata"]["continue"]})
    assert (second.names, second.version) == (["c", "d"], first.version)
    third = await api.get(WIDGETS, limit="2", **{"continue": second.body["metadata"]["continue"]})
    assert third.names == ["e"]
    assert "continue" not in third.body["metadata"]


async def test_pages_of_a_selection_are_full(api: Api, five: None) -> None:
    first = await api.get(WIDGETS, limit="2", labelSelector="odd=0")
    assert first.names == ["a", "c"]
    assert "remainingItemCount" not in first.body["metadata"]
    token = first.body["metadata"]["continue"]
    second = await api.get(WIDGETS, limit="2", labelSelector="odd=0", **{"continue": token})
    assert second.names == ["e"]


async def test_long_lists_are_read_in_chunks_of_one_instant(
    api: Api, five: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmkeep.apiserver.listing.CHUNK", 2)
    assert (await api.get(WIDGETS)).names == list("abcde")
    assert (await api.get(WIDGETS, limit="3")).names == list("abc")
    assert (await api.get(WIDGETS, labelSelector="odd=0")).names == list("ace")


async def test_an_old_version_can_be_asked_for_until_it_is_compacted(api: Api, five: None) -> None:
    version = (await api.get(WIDGETS)).version
    token = (await api.get(WIDGETS, limit="2")).body["metadata"]["continue"]
    await api.call("DELETE", f"{WIDGETS}/a")
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
    assert (await api.get(WIDGETS, **exact)).names == list("abcde")
    await api.etcd.compact(api.etcd.revision)
    for query in (exact, {"continue": token}):
        reply = await api.get(WIDGETS, **query)
        assert (reply.code, reply.reason) == (410, "Expired")


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "many"},
        {"limit": "-1"},
        {"continue": "nonsense"},
        {"continue": "eyJydiI6MSwic3RhcnQiOiIvcmVnaXN0cnkvY29yZS8ifQ"},
        {"resourceVersion": "new"},
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "About", "resourceVersion": "1"},
        {"labelSelector": "a in"},
        {"fieldSelector": "spec.size=1"},
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, query: dict[str, str]) -> None:
    reply = await api.get(WIDGETS, **query)
    assert (reply.code, reply.reason) == (400, "BadRequest")


async def test_tables_and_metadata(api: Api, five: None) -> None:
    async def as_(form: str, path: str, **query: str) -> dict[str, object]:
        accept = f"application/json;as={form};v=v1;g=meta.k8s.io,application/json"
        return dict((await api.call("GET", path, headers={"Accept": accept}, **query)).body)

    table = await as_("Table", WIDGETS, limit="2")
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [row["cells"][0] for row in table["rows"]] == ["a", "b"]  # type: ignore[attr-defined]
    assert table["metadata"]["continue"]  # type: ignore[index]
    one = await as_("Table", f"{WIDGETS}/a", includeObject="Object")
    assert one["rows"][0]["object"]["spec"]["size"] == 1  # type: ignore[index]
    part = await as_("PartialObjectMetadata", f"{WIDGETS}/a")
    assert (part["kind"], "spec" in part) == ("PartialObjectMetadata", False)
    parts = await as_("PartialObjectMetadataList", WIDGETS)
    assert parts["kind"] == "PartialObjectMetadataList"
    assert {item["kind"] for item in parts["items"]} == {"PartialObjectMetadata"}  # type: ignore[attr-defined]
    assert (await as_("Table", WIDGETS, includeObject="Half"))["code"] == 400
