"""Objects of our API, or of a real kube-apiserver: read, write, watch. Shared by agent, operator and command."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self
from urllib.parse import quote

from swarmkeep.errors import InvalidObject
from swarmkeep.kube.answers import ApiError, ApiUnavailable, Gone, error_of
from swarmkeep.kube.transport import SILENCE_LIMIT_S, Transport
from swarmkeep.model.kinds import Kind

Obj = dict[str, Any]
"""An API object as decoded JSON."""

PAGE_SIZE = 500
"""Objects asked for at once when listing."""


class PatchType(StrEnum):
    """How the body of a patch is to be read; the values are content types."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Fence:
    """Makes a write count only while its writer still leads the election `name`."""

    revision: int
    """The create revision of the election's key, `Election.token`."""
    name: str = "operator"

    @property
    def header(self) -> str:
        return f"{self.name}={self.revision}"


@dataclass(frozen=True, slots=True)
class ObjectList:
    """All objects that a list request matched, as of `resource_version`."""

    items: list[Obj]
    resource_version: str


class EventType(StrEnum):
    """What a line of a watch says about its object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch. A BOOKMARK's object has nothing but a newer resourceVersion."""

    type: EventType
    object: Obj

    @property
    def resource_version(self) -> str:
        """Where a later watch can go on from."""
        return str(self.object["metadata"]["resourceVersion"])


class Client:
    """Asynchronous client of one API with several servers. Use it in one event loop, and `close` it.

    Every call is bounded by `timeout_s` in all, raises NotFound, Conflict (narrower: AlreadyExists, FencedOff,
    LeaseAlive), InvalidObject, Forbidden or Unavailable of swarmkeep.errors in the forms of swarmkeep.kube.answers, and
    moves on to the next server when one cannot be reached or says 503. Of namespaced kinds a single object needs its
    namespace: InvalidObject else.
    """

    def __init__(
        self,
        servers: Sequence[str],
        tls: ssl.SSLContext | None,
        *,
        timeout_s: float = 5.0,
        field_manager: str = "swarmkeep",
        token: str | None = None,
        server_name: str | None = None,
        insist: bool = True,
    ) -> None:
        """`servers` are URLs of the same API. `insist`, `server_name`: see Transport."""
        self.transport = Transport(
            servers,
            tls,
            timeout_s=timeout_s,
            token=token,
            server_name=server_name,
            user_agent=field_manager,
            insist=insist,
        )
        self.field_manager = field_manager

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self.transport.close()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Obj:
        """The object. Raises ApiNotFound."""
        return await self._object("GET", object_path(kind, name, namespace), repeatable=True)

    async def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "") -> ObjectList:
        """All objects of a kind, in one namespace or in all, read page by page from one instant of the store."""
        selectors = _selectors(labels, fields)
        try:
            return await self._pages(kind, namespace, {**selectors, "limit": str(PAGE_SIZE)})
        except Gone:
            # The store was compacted between two pages. One big page cannot fall apart.
            return await self._pages(kind, namespace, selectors)

    async def create(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        dry_run: bool = False,
        strict: bool = False,
        fence: Fence | None = None,
        expired_lease: str | None = None,
    ) -> Obj:
        """Creates and returns it. Raises AlreadyExists. `strict`: refuse unknown fields instead of dropping them."""
        whole, namespace = _complete(kind, body, namespace)
        return await self._object(
            "POST",
            collection_path(kind, namespace),
            params=self._write_params(dry_run, strict),
            body=whole,
            headers=_write_headers(fence, expired_lease),
            repeatable=False,
        )

    async def replace(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str = "",
        dry_run: bool = False,
        strict: bool = False,
        fence: Fence | None = None,
        expired_lease: str | None = None,
    ) -> Obj:
        """Writes the whole object. With `metadata.resourceVersion`, raises ApiConflict unless that is the newest."""
        whole, namespace = _complete(kind, body, namespace)
        return await self._object(
            "PUT",
            object_path(kind, whole["metadata"]["name"], namespace, subresource),
            params=self._write_params(dry_run, strict),
            body=whole,
            headers=_write_headers(fence, expired_lease),
            repeatable="resourceVersion" not in whole["metadata"],
        )

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Mapping[str, Any] | Sequence[Any],
        namespace: str | None = None,
        *,
        subresource: str = "",
        patch_type: PatchType = PatchType.MERGE,
        dry_run: bool = False,
        strict: bool = False,
        fence: Fence | None = None,
        expired_lease: str | None = None,
    ) -> Obj:
        """Changes part of an object and returns the whole.

        Name a `metadata.resourceVersion` in a merge patch to have it refused (ApiConflict) when somebody was faster;
        without one the server applies it to whatever is newest. `expired_lease` names the node whose lease must have
        run out (LeaseAlive else).
        """
        names_version = isinstance(patch, Mapping) and "resourceVersion" in (patch.get("metadata") or {})
        return await self._object(
            "PATCH",
            object_path(kind, name, namespace, subresource),
            params=self._write_params(dry_run, strict),
            body=patch,
            headers={"Content-Type": str(patch_type), **_write_headers(fence, expired_lease)},
            repeatable=patch_type is PatchType.MERGE and not names_version,
        )

    async def apply(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
        strict: bool = False,
        subresource: str = "",
        fence: Fence | None = None,
    ) -> Obj:
        """Server-side apply: creates or updates what `body` names, and removes what this manager named before and does
        not now. Raises ApiConflict, whose causes name the fields, when another manager owns one and `force` is off."""
        whole, namespace = _complete(kind, body, namespace)
        params = self._write_params(dry_run, strict)
        params |= {"fieldManager": field_manager or self.field_manager, "force": str(force).lower()}
        return await self._object(
            "PATCH",
            object_path(kind, whole["metadata"]["name"], namespace, subresource),
            params=params,
            body=whole,
            headers={"Content-Type": str(PatchType.APPLY), **_write_headers(fence, None)},
            repeatable=True,
        )

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
        fence: Fence | None = None,
    ) -> None:
        """Deletes an object; one with finalizers is only marked, and goes when the last of them is removed.

        Raises ApiNotFound, and ApiConflict when it is not the one with this `uid` or `resource_version`.
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        wanted = {key: value for key, value in preconditions.items() if value is not None}
        options: Obj = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if wanted:
            options["preconditions"] = wanted
        await self.transport.request(
            "DELETE",
            object_path(kind, name, namespace),
            params={"dryRun": "All"} if dry_run else None,
            body=options,
            headers=_write_headers(fence, None),
            repeatable=bool(uid),
        )

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str,
        silence_limit_s: float = SILENCE_LIMIT_S,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """One stream of what happened after `resource_version`; ends when the server ends it.

        Raises Gone when that is too long ago, ApiUnavailable when the connection breaks or stays silent for
        `silence_limit_s`. With a selector, an object that no longer matches comes as DELETED. `on_open` is called when
        the API has accepted the watch. Close the generator (contextlib.aclosing) when leaving it early.
        """
        params = {**_selectors(labels, fields), "watch": "true", "allowWatchBookmarks": "true"}
        params["resourceVersion"] = resource_version
        path = collection_path(kind, namespace)
        lines = self.transport.lines(path, params=params, silence_limit_s=silence_limit_s, on_open=on_open)
        async with aclosing(lines):
            async for line in lines:
                yield _event(line, kind, path)

    async def _pages(self, kind: Kind, namespace: str | None, params: Mapping[str, str]) -> ObjectList:
        items: list[Obj] = []
        position = ""
        while True:
            query = {**params, "continue": position} if position else params
            answer = await self._object("GET", collection_path(kind, namespace), params=query, repeatable=True)
            items += [_typed(kind, item) for item in answer.get("items") or ()]
            position = answer["metadata"].get("continue") or ""
            if not position:
                return ObjectList(items, str(answer["metadata"]["resourceVersion"]))

    async def _object(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool,
    ) -> Obj:
        answer = await self.transport.request(
            method, path, params=params, body=body, headers=headers, repeatable=repeatable
        )
        if not isinstance(answer.body, dict):
            raise ApiUnavailable(f"{method} {path} was answered with something that is no object; is this our API?")
        return answer.body

    def _write_params(self, dry_run: bool, strict: bool) -> dict[str, str]:
        params = {"fieldManager": self.field_manager}
        if strict:
            params["fieldValidation"] = "Strict"
        if dry_run:
            params["dryRun"] = "All"
        return params


def collection_path(kind: Kind, namespace: str | None = None) -> str:
    """Where all objects of a kind are, in one namespace or in all."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    middle = f"/namespaces/{_segment(namespace)}" if kind.namespaced and namespace else ""
    return f"{root}{middle}/{kind.plural}"


def object_path(kind: Kind, name: str, namespace: str | None = None, subresource: str = "") -> str:
    """Where one object is. Raises InvalidObject for an impossible name, or without a needed namespace."""
    if kind.namespaced and not namespace:
        raise InvalidObject(f"{kind.name} {name!r} needs a namespace")
    return f"{collection_path(kind, namespace)}/{_segment(name)}" + (f"/{subresource}" if subresource else "")


def _segment(name: str) -> str:
    """`name` as one step of a path, whatever a user typed."""
    if name in ("", ".", ".."):
        raise InvalidObject(f"{name!r} cannot be a name")
    return quote(name, safe="")


def _complete(kind: Kind, body: Mapping[str, Any], namespace: str | None) -> tuple[Obj, str | None]:
    """`body` with apiVersion and kind, and the namespace that it goes to."""
    whole = {"apiVersion": kind.api_version, "kind": kind.name, **body}
    named = (body.get("metadata") or {}).get("namespace")
    if kind.namespaced and not (namespace or named):
        raise InvalidObject(f"a new {kind.name} needs a namespace")
    return whole, (namespace or named) if kind.namespaced else None


def _typed(kind: Kind, item: Obj) -> Obj:
    """Items of a list may come without what the list says already."""
    return {"apiVersion": kind.api_version, "kind": kind.name, **item}


def _selectors(labels: str, fields: str) -> dict[str, str]:
    both = {"labelSelector": labels, "fieldSelector": fields}
    return {key: value for key, value in both.items() if value}


def _write_headers(fence: Fence | None, expired_lease: str | None) -> dict[str, str]:
    headers = {}
    if fence is not None:
        headers["Swarmkeep-Fence"] = fence.header
    if expired_lease is not None:
        headers["Swarmkeep-Expired-Lease"] = expired_lease
    return headers


def _event(line: bytes, kind: Kind, path: str) -> WatchEvent:
    """One line as an event; raises the error that an ERROR line stands for."""
    try:
        decoded = json.loads(line)
        type_, obj = decoded["type"], decoded["object"]
        if type_ == "ERROR":
            raise error_of(int(obj.get("code") or 500), obj, {}, f"watch {path}")
        event = WatchEvent(EventType(type_), _typed(kind, obj))
        if not event.resource_version:
            raise KeyError("resourceVersion")
    except ApiError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApiUnavailable(f"watch {path}: a line makes no sense: {line[:200]!r} ({error!r})") from None
    return event
