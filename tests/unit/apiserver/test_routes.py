"""What paths mean."""

from __future__ import annotations

import pytest

from swarmkeep.apiserver.resources import Registry
from swarmkeep.apiserver.routes import group_version_of, object_path, segments_of


def found(registry: Registry, path: str) -> tuple[str, str, str, str] | None:
    steps = segments_of(path)
    place = group_version_of(steps) if steps else None
    target = object_path(registry, *place) if place else None
    return (target.resource.plural, target.namespace, target.name, target.subresource) if target else None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces", ("namespaces", "", "", "")),
        ("/api/v1/namespaces/", ("namespaces", "", "", "")),
        ("/api/v1/namespaces/a", ("namespaces", "", "a", "")),
        ("/api/v1/namespaces/a/status", ("namespaces", "", "a", "status")),
        ("/api/v1/namespaces/a/events", ("events", "a", "", "")),
        ("/api/v1/namespaces/a/events/e", ("events", "a", "e", "")),
        ("/api/v1/events", ("events", "", "", "")),
        ("/apis/example.dev/v1/widgets", ("widgets", "", "", "")),
        ("/apis/example.dev/v1/namespaces/a/widgets/w", ("widgets", "a", "w", "")),
        ("/apis/example.dev/v1/namespaces/a/widgets/w/status", ("widgets", "a", "w", "status")),
        ("/apis/example.dev/v1/namespaces/a/widgets/w%20x", ("widgets", "a", "w x", "")),
    ],
)
def test_objects_are_found(registry: Registry, path: str, expected: tuple[str, str, str, str]) -> None:
    assert found(registry, path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/api/v1",
        "/api/v2/namespaces",
        "/api/v1/widgets",
        "/api/v1//namespaces",
        "/api/v1/events/e",
        "/api/v1/namespaces/a/namespaces/b",
        "/api/v1/namespaces/a/finalize",
        "/apis/example.dev/v1/widgets/w",
        "/apis/example.dev/v1/namespaces/a/widgets/w/scale",
        "/apis/example.dev/v1/namespaces/a/widgets/w/status/x",
        "/apis/example.dev/v1/namespaces/a/widgets/a%2Fb",
        "/apis/example.dev/v1/namespaces/..%2Fdefault/widgets",
        "/apis/example.dev/v1/namespaces/a/widgets/%00",
        "/apis/example.dev/v1/namespaces/a/widgets/" + "x" * 300,
    ],
)
def test_nothing_else_is(registry: Registry, path: str) -> None:
    assert found(registry, path) is None
