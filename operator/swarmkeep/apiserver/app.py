"""The HTTP door: one handler that authenticates, finds what the path means, lets a verb do it, and words the answer.

Made by daemon.py with the real services, by tests with a twin of etcd.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import perf_counter

import structlog
from aiohttp import web

from swarmkeep.apiserver import objects, reviews, routes, wellknown
from swarmkeep.apiserver.answers import Answer
from swarmkeep.apiserver.authn import User, user_of
from swarmkeep.apiserver.authz import READS
from swarmkeep.apiserver.negotiation import decode_body
from swarmkeep.apiserver.services import Services
from swarmkeep.apiserver.status_errors import (
    StatusError,
    failure,
    method_not_allowed,
    outcome_unknown,
    status_of,
    unknown_path,
)
from swarmkeep.errors import Unavailable
from swarmkeep.obs import apiserver_metrics as metrics

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 3 * 1024 * 1024
"""As Kubernetes; etcd takes half of it at most."""
REQUEST_TIMEOUT_S = 30.0
"""For everything but watches: etcd's own limits are shorter, so this is for what nobody thought of."""
_READY_TIMEOUT_S = 2.0

Authenticate = Callable[[web.Request], User]


def certificate_user(request: web.Request) -> User:
    """Who the client certificate of the connection belongs to."""
    return user_of(request.get_extra_info("peercert"))


def make_app(services: Services, authenticate: Authenticate = certificate_user) -> web.Application:
    """The application; `authenticate` says who calls."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, handler_args={"handler_cancellation": True})
    app.router.add_route("*", "/{path:.*}", _Door(services, authenticate).handle)
    return app


class _Door:
    def __init__(self, services: Services, authenticate: Authenticate) -> None:
        self._services = services
        self._authenticate = authenticate
        self._documents = wellknown.Documents(services.registry)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers any request. Errors become Status objects."""
        started = perf_counter()
        label = objects.Label()
        code = 500
        try:
            response = await self._respond(request, label)
            code = response.status
            return response
        except asyncio.CancelledError:
            code = 499  # the client has gone
            raise
        except Exception as error:
            if isinstance(error, web.HTTPException) and not isinstance(error, web.HTTPRequestEntityTooLarge):
                raise
            status = _status(error)
            code = status.code
            if code >= 500 and code != 503:
                log.error("request failed", method=request.method, path=request.path, exc_info=error)
            return _response(
                Answer(
                    code,
                    # In ASCII, since it may repeat anything that a client sent.
                    json.dumps(failure(code, status.status_reason, str(status), status.details)).encode(),
                    status.headers,
                )
            )
        finally:
            metrics.REQUESTS.labels(label.verb, label.resource, str(code)).inc()
            if label.verb != "watch":
                metrics.REQUEST_SECONDS.labels(label.verb).observe(perf_counter() - started)

    async def _respond(self, request: web.Request, label: objects.Label) -> web.StreamResponse:
        steps = routes.segments_of(request.rel_url.raw_path)
        if steps is None:
            raise unknown_path(request.path)
        user = self._authenticate(request)
        if steps and steps[-1] in ("healthz", "livez", "readyz") and len(steps) == 1:
            return await self._health(request, steps[0])
        place = routes.group_version_of(steps)
        if place is None or not place[2]:
            return _response(self._document(request, steps))
        group, version, rest = place
        if request.method == "POST" and (group, version) in (reviews.AUTHORIZATION, reviews.AUTHENTICATION):
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                body = decode_body(request.content_type, await request.read())
            answer = reviews.review(user, (group, version), rest[-1], body)
            if answer is None:
                raise unknown_path(request.path)
            return _response(answer)
        path = routes.object_path(self._services.registry, group, version, rest)
        if path is None:
            raise unknown_path(request.path)
        call, wanted = objects.call_of(request, user, path, label)
        if call.verb == "watch":
            return await objects.watch(self._services, request, call, wanted)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return _response(await objects.serve(self._services, request, call, wanted))
        except TimeoutError:
            took = f"{call.verb} took longer than {REQUEST_TIMEOUT_S:g}s"
            raise Unavailable(took) if call.verb in READS else outcome_unknown(took) from None

    async def _health(self, request: web.Request, what: str) -> web.Response:
        _only_reading(request)
        if what == "readyz":
            if not self._services.hub.ready.is_set():
                return web.Response(status=503, text="etcd is not reachable\n")
            try:
                async with asyncio.timeout(_READY_TIMEOUT_S):
                    await self._services.etcd.get("/registry/")
            except (Unavailable, TimeoutError):
                return web.Response(status=503, text="etcd does not answer\n")
        return web.Response(text="ok")

    def _document(self, request: web.Request, steps: list[str]) -> Answer:
        _only_reading(request)
        documents, accept = self._documents, request.headers.get("Accept", "")
        answer: Answer | None = None
        match steps:
            case ["version"]:
                answer = wellknown.version()
            case ["api"]:
                answer = documents.api(accept, core=True)
            case ["apis"]:
                answer = documents.api(accept, core=False)
            case ["apis", group]:
                answer = documents.group(group)
            case ["api", version]:
                answer = documents.resources("", version)
            case ["apis", group, version]:
                answer = documents.resources(group, version)
            case ["openapi", "v2"]:
                answer = documents.openapi_v2()
            case ["openapi", "v3"]:
                answer = documents.openapi_index()
            case ["openapi", "v3", "api", version]:
                answer = documents.openapi_document("", version)
            case ["openapi", "v3", "apis", group, version]:
                answer = documents.openapi_document(group, version)
        if answer is None:
            raise unknown_path(request.path)
        return answer


def _only_reading(request: web.Request) -> None:
    if request.method not in ("GET", "HEAD"):
        raise method_not_allowed(f"{request.method} is not done here")


def _status(error: Exception) -> StatusError:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return StatusError(413, "RequestEntityTooLarge", f"the request is larger than {MAX_BODY_BYTES} bytes")
    return status_of(error)


def _response(answer: Answer) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache, private", **answer.headers}
    return web.Response(status=answer.code, body=answer.body, headers=headers)
