"""From a request for objects to the verb that serves it, and from the verb's result to an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from swarmkeep.apiserver import create, delete, listing, update
from swarmkeep.apiserver.answers import Answer, json_answer, list_answer, object_answer
from swarmkeep.apiserver.authn import User
from swarmkeep.apiserver.authorize import authorize
from swarmkeep.apiserver.call import Call, flag
from swarmkeep.apiserver.guards import demands_of
from swarmkeep.apiserver.keys import parse_key
from swarmkeep.apiserver.negotiation import Wanted, decode_body, wanted
from swarmkeep.apiserver.resources import STATUS_VERBS
from swarmkeep.apiserver.routes import ObjectPath
from swarmkeep.apiserver.services import Services
from swarmkeep.apiserver.status_errors import deleted, method_not_allowed
from swarmkeep.apiserver.store import Stored
from swarmkeep.apiserver.watch import Watch

_VERBS = {
    # HTTP method: (verb of a collection, verb of one object)
    "GET": ("list", "get"),
    "HEAD": ("list", "get"),
    "POST": ("create", ""),
    "PUT": ("", "update"),
    "PATCH": ("", "patch"),
    "DELETE": ("deletecollection", "delete"),
}


@dataclass(slots=True)
class Label:
    """What a request is counted as."""

    verb: str = "other"
    resource: str = ""


def call_of(request: web.Request, user: User, path: ObjectPath, label: Label) -> tuple[Call, Wanted]:
    """The request as a call that its caller may make. Raises StatusError 403, 405."""
    query = dict(request.query)
    if path.name or request.method not in ("GET", "HEAD"):
        pass
    elif flag(query, "watch"):
        label.verb = "watch"
    verb = label.verb if label.verb == "watch" else _VERBS.get(request.method, ("", ""))[bool(path.name)]
    label.verb, label.resource = verb or "other", path.resource.plural
    allowed = STATUS_VERBS if path.subresource else path.resource.verbs
    if not verb or verb not in allowed or verb not in path.resource.verbs:
        where = path.resource.qualified_plural + (f"/{path.subresource}" if path.subresource else "")
        raise method_not_allowed(f"the server does not allow {request.method} on {where} there")
    if path.resource.namespaced and not path.namespace and verb not in ("list", "watch"):
        raise method_not_allowed(f"{verb} of {path.resource.qualified_plural} needs a namespace")
    call = Call(
        user=user,
        verb=verb,
        resource=path.resource,
        namespace=path.namespace,
        name=path.name,
        subresource=path.subresource,
        query=query,
        demands=demands_of(request.headers),
    )
    authorize(call)
    return call, wanted(request.headers.get("Accept", ""), query.get("includeObject", ""))


async def watch(services: Services, request: web.Request, call: Call, form: Wanted) -> web.StreamResponse:
    """A stream of changes."""
    return await Watch(services, call, form).serve(request)


async def serve(services: Services, request: web.Request, call: Call, form: Wanted) -> Answer:
    """Everything that has an end."""
    match call.verb:
        case "get":
            return object_answer(call.resource, (await listing.get(services, call)).json(), form)
        case "list":
            page = await listing.list_page(services, call)
            return list_answer(call.resource, page.objects(), page.position, form)
        case "create":
            stored, warnings = await create.create(services, call, await _body(request))
            return _written(call, stored, form, 201, warnings)
        case "update":
            return _changed(call, await update.replace(services, call, await _body(request)), form)
        case "patch":
            body = await _body(request)
            return _changed(call, await update.patch(services, call, body, request.content_type), form)
        case "delete":
            stored, gone = await delete.delete(services, call, await _options(request))
            if gone:
                uid = str(json.loads(stored.raw)["metadata"].get("uid", ""))
                return json_answer(deleted(call.resource, call.name, uid))
            return _written(call, stored, form, 200, [])
        case _:
            return await _delete_collection(services, call, await _options(request))


async def _delete_collection(services: Services, call: Call, options: Any) -> Answer:
    unlimited = {key: value for key, value in call.query.items() if key not in ("limit", "continue")}
    page = await listing.list_page(services, replace(call, query=unlimited))
    keys = [key for item in page.items if (key := parse_key(item.key))]
    await delete.delete_each(services, call, [(key.namespace, key.name) for key in keys], options)
    return list_answer(call.resource, page.objects(), page.position, Wanted())


async def _body(request: web.Request) -> Any:
    return decode_body(request.content_type if request.body_exists else "", await request.read())


async def _options(request: web.Request) -> Any:
    content = await request.read()
    return decode_body(request.content_type, content) if content else None


def _changed(call: Call, written: update.Written, form: Wanted) -> Answer:
    stored, warnings, is_new = written
    return _written(call, stored, form, 201 if is_new else 200, warnings)


def _written(call: Call, stored: Stored, form: Wanted, code: int, warnings: list[str]) -> Answer:
    # A new object of a dry run has no version yet.
    return object_answer(call.resource, stored.json() if stored.revision else stored.raw, form, code, warnings)
