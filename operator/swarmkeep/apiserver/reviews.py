"""kubectl auth: who am I, may I do this, what may I do. Answers from authz.py; nothing is stored."""

from __future__ import annotations

from typing import Any

from swarmkeep.apiserver.answers import Answer, json_answer
from swarmkeep.apiserver.authn import Role, User
from swarmkeep.apiserver.authz import Access, denial
from swarmkeep.apiserver.status_errors import bad_request

AUTHORIZATION = ("authorization.k8s.io", "v1")
AUTHENTICATION = ("authentication.k8s.io", "v1")


def review(user: User, group_version: tuple[str, str], plural: str, body: Any) -> Answer | None:
    """The answer to a review; None if there is no such review."""
    if not isinstance(body, dict):
        raise bad_request("the body of a review must be an object")
    match (group_version, plural):
        case (("authentication.k8s.io", "v1"), "selfsubjectreviews"):
            status: dict[str, Any] = {"userInfo": {"username": user.name, "groups": list(user.groups)}}
        case (("authorization.k8s.io", "v1"), "selfsubjectaccessreviews"):
            spec = body.get("spec") or {}
            if not isinstance(spec, dict):
                raise bad_request("the spec of a review must be an object")
            status = _access(user, spec)
        case (("authorization.k8s.io", "v1"), "selfsubjectrulesreviews"):
            status = {"incomplete": user.role is Role.AGENT, "nonResourceRules": [], "resourceRules": _rules(user)}
        case _:
            return None
    return json_answer({**body, "metadata": body.get("metadata") or {}, "status": status}, 201)


def _access(user: User, spec: dict[str, Any]) -> dict[str, Any]:
    attributes = spec.get("resourceAttributes")
    if not isinstance(attributes, dict):
        return {"allowed": user.role is not Role.NONE}  # what is served beside objects is open to everybody
    text = {name: str(value) for name, value in attributes.items() if isinstance(value, str)}
    access = Access(
        text.get("verb", ""),
        text.get("group", ""),
        text.get("resource", ""),
        text.get("namespace", ""),
        text.get("name", ""),
        text.get("subresource", ""),
    )
    problem = denial(user, access)
    return {"allowed": problem is None, **({"reason": problem} if problem else {})}


def _rules(user: User) -> list[dict[str, Any]]:
    reading = {"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]}
    match user.role:
        case Role.ADMIN:
            return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        case Role.OPERATOR:
            writing = [
                ("swarmkeep.dev", ["*"]),
                ("coordination.k8s.io", ["leases"]),
                ("", ["events", "namespaces"]),
            ]
            return [reading, *({"verbs": ["*"], "apiGroups": [g], "resources": r} for g, r in writing)]
        case Role.AGENT:
            changes = ["create", "update", "patch"]
            deletes = {"verbs": ["delete"], "apiGroups": ["swarmkeep.dev"], "resources": ["checkpoints"]}
            return [
                reading,
                deletes,
                {"verbs": changes, "apiGroups": [""], "resources": ["events"]},
                {"verbs": changes, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]},
                {
                    "verbs": changes,
                    "apiGroups": ["swarmkeep.dev"],
                    "resources": ["nodes", "checkpoints", "workloads/status"],
                },
            ]
    return []
