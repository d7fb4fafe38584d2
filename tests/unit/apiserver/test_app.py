"""The door: what is served beside objects, and how failures are told."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.apiserver.authn import Role, User
from swarmkeep.errors import StorageFull
from swarmkeep.etcd.failures import EtcdFailure, EtcdOutcomeUnknown
from swarmkeep.obs import apiserver_metrics as metrics

from .http_api import MERGE, WIDGETS, Api, widget

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
REVIEWS = "/apis/authorization.k8s.io/v1"


async def test_version_and_health(api: Api) -> None:
    version = (await api.get("/version/")).body
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")
    for path in ("/healthz", "/livez", "/readyz"):
        reply = await api.call("GET", path, headers={"Accept": "application/xml"})
        assert (reply.code, reply.body) == (200, "ok")
    assert (await api.call("POST", "/healthz")).code == 405


async def test_ready_means_that_etcd_answers(api: Api) -> None:
    api.etcd.down = True
    assert (await api.get("/readyz")).code == 503
    assert (await api.get("/livez")).code == 200
    api.etcd.down = False
    api.services.hub.ready.clear()
    assert (await api.get("/readyz")).code == 503


@pytest.mark.parametrize("path", ["/api", "/apis/"])
@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_discovery_in_one_answer_or_in_lists(api: Api, path: str, version: str) -> None:
    accept = DISCOVERY.format(version)
    whole = await api.call("GET", path, headers={"Accept": f"{accept},application/json"})
    assert whole.headers["Content-Type"] == accept
    assert whole.body["kind"] == "APIGroupDiscoveryList"
    plain = await api.call("GET", path, headers={"Accept": f"application/json,{accept}"})
    assert plain.body["kind"] in ("APIVersions", "APIGroupList")


async def test_discovery_of_groups_and_documents(api: Api) -> None:
    assert (await api.get("/apis/example.dev")).body["kind"] == "APIGroup"
    assert (await api.get("/apis/example.dev/v1/")).body["kind"] == "APIResourceList"
    assert (await api.get("/api/v1")).body["groupVersion"] == "v1"
    index = (await api.get("/openapi/v3")).body["paths"]
    for entry in index.values():
        path, _, query = entry["serverRelativeURL"].partition("?hash=")
        assert (await api.get(path, hash=query)).body["openapi"].startswith("3.")
    assert (await api.get("/openapi/v2")).code == 406


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/apis/other.dev", "/apis/other.dev/v1", "/apis/other.dev/v1/things", "/openapi/v3/api/v9"],
)
async def test_what_is_not_served_is_not_found(api: Api, path: str) -> None:
    reply = await api.get(path)
    assert (reply.code, reply.reason) == (404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", WIDGETS),
        ("PATCH", WIDGETS),
        ("POST", f"{WIDGETS}/w"),
        ("POST", "/apis/example.dev/v1/widgets"),
        ("DELETE", "/apis/example.dev/v1/widgets"),
        ("DELETE", f"{WIDGETS}/w/status"),
        ("DELETE", "/api/v1/namespaces"),
        ("OPTIONS", WIDGETS),
        ("POST", "/version"),
    ],
)
async def test_what_is_not_done_there_is_said_so(api: Api, method: str, path: str) -> None:
    reply = await api.call(method, path, {} if method != "OPTIONS" else None)
    assert (reply.code, reply.reason) == (405, "MethodNotAllowed")


async def test_an_etcd_that_is_away_is_worth_a_retry(api: Api) -> None:
    api.etcd.down = True
    for reply in (await api.get(WIDGETS), await api.create(WIDGETS, widget()), await api.merge(f"{WIDGETS}/w", {})):
        assert (reply.code, reply.reason) == (503, "ServiceUnavailable")
        assert reply.headers["Retry-After"] == "1"


async def test_a_write_that_may_have_been_carried_out_is_not_to_be_repeated(api: Api) -> None:
    async def lose(*_: Any, **__: Any) -> Any:
        raise EtcdOutcomeUnknown("etcd: transaction on w: no answer")

    api.etcd.txn = lose  # type: ignore[method-assign]
    reply = await api.create(WIDGETS, widget())
    assert (reply.code, reply.reason) == (504, "Timeout")
    assert "Retry-After" not in reply.headers
    assert "read the object" in reply.message


@pytest.mark.parametrize("body", [b'{"spec":{"size":1e999}}', b'{"spec":{"size":-1e999}}'])
async def test_numbers_that_json_cannot_say_again_are_refused(api: Api, body: bytes) -> None:
    await api.create(WIDGETS, widget())
    reply = await api.call("PATCH", f"{WIDGETS}/w", body, content_type=MERGE)
    assert (reply.code, reply.reason) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("error", "code"), [(StorageFull("full"), 507), (EtcdFailure("odd"), 500), (KeyError("secret"), 500)]
)
async def test_other_failures_have_their_codes(api: Api, error: Exception, code: int) -> None:
    async def fail(key: str) -> None:
        raise error

    api.etcd.get = fail  # type: ignore[method-assign]
    reply = await api.get(f"{WIDGETS}/w")
    assert (reply.code, reply.body["kind"]) == (code, "Status")
    assert "secret" not in reply.message


async def test_requests_are_counted_by_verb_kind_and_code(api: Api) -> None:
    def count(verb: str, code: str) -> float:
        labels = {"verb": verb, "resource": "widgets", "code": code}
        return metrics.REGISTRY.get_sample_value("swarmkeep_api_requests_total", labels) or 0.0

    before = count("create", "201"), count("get", "404")
    await api.create(WIDGETS, widget())
    await api.get(f"{WIDGETS}/nothing")
    assert (count("create", "201"), count("get", "404")) == (before[0] + 1, before[1] + 1)


async def test_reviews_say_who_may_do_what(api: Api) -> None:
    async def may(verb: str, resource: str, group: str = "swarmkeep.dev", **more: str) -> bool:
        attributes = {"verb": verb, "resource": resource, "group": group, **more}
        body = {"kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        reply = await api.create(f"{REVIEWS}/selfsubjectaccessreviews", body)
        assert reply.code == 201
        return bool(reply.body["status"]["allowed"])

    assert await may("delete", "workloads")
    api.user = User("n1", Role.AGENT)
    assert await may("list", "workloads")
    assert not await may("delete", "workloads")
    assert await may("patch", "nodes", name="n1")
    assert not await may("patch", "nodes", name="n2")
    me = await api.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {"kind": "SelfSubjectReview"})
    assert me.body["status"]["userInfo"] == {"username": "n1", "groups": ["swarmkeep:agent", "system:authenticated"]}
    for user, rules in ((User("a", Role.ADMIN), 1), (User("o", Role.OPERATOR), 4), (User("x", Role.NONE), 0)):
        api.user = user
        listed = await api.create(f"{REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
        assert len(listed.body["status"]["resourceRules"]) == rules
    assert (await api.create(f"{REVIEWS}/tokenreviews", {})).code == 404
    assert (await api.create(f"{REVIEWS}/selfsubjectrulesreviews", [])).code == 400
    assert (await api.create(f"{REVIEWS}/selfsubjectaccessreviews", {"spec": 5})).code == 400
