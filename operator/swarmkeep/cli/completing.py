"""What the shell offers after a verb: kinds, then names of objects that are there.

A shell waits while this runs, and shows what it prints: everything has a short limit, and trouble offers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarmkeep.cli.session import Session

LIMIT_S = 1.5

KINDS = (
    "workloads",
    "checkpointpolicies",
    "checkpoints",
    "migrations",
    "restores",
    "storagelocations",
    "nodes",
    "events",
    "namespaces",
    "keep",
)


def objects(ctx: object, args: Sequence[str], incomplete: str) -> list[str]:
    """For arguments of the form KIND NAME... or KIND/NAME."""
    words = list(getattr(ctx, "params", {}).get("what") or args)
    if "/" in incomplete:
        kind = incomplete.partition("/")[0]
        return [f"{kind}/{name}" for name in _names(ctx, kind) if f"{kind}/{name}".startswith(incomplete)]
    if not words:
        return [kind for kind in KINDS if kind.startswith(incomplete)]
    if "/" in words[0]:
        return []
    return [name for name in _names(ctx, words[0]) if name.startswith(incomplete) and name not in words[1:]]


def prunable(ctx: object, args: Sequence[str], incomplete: str) -> list[str]:
    """For workloads and policies by name alone."""
    given = set(getattr(ctx, "params", {}).get("what") or args)
    names = [*_names(ctx, "workloads"), *_names(ctx, "checkpointpolicies")]
    return [name for name in names if name.startswith(incomplete) and name not in given]


def examinable(ctx: object, args: Sequence[str], incomplete: str) -> list[str]:
    """For nodes and workloads by name alone."""
    given = set(getattr(ctx, "params", {}).get("what") or args)
    names = [*_names(ctx, "nodes.swarmkeep.dev"), *_names(ctx, "workloads")]
    return [name for name in names if name.startswith(incomplete) and name not in given]


def nodes(ctx: object, incomplete: str) -> list[str]:
    """For one node by name."""
    return [name for name in _names(ctx, "nodes.swarmkeep.dev") if name.startswith(incomplete)]


def workloads(ctx: object, incomplete: str) -> list[str]:
    """For one workload by name."""
    return [name for name in _names(ctx, "workloads") if name.startswith(incomplete)]


def _names(ctx: object, kind: str) -> list[str]:
    import asyncio

    from swarmkeep.cli.options import Options
    from swarmkeep.cli.session import open_session
    from swarmkeep.errors import SwarmKeepError

    params = getattr(ctx, "params", {})
    options = Options(params.get("namespace"), params.get("context"), params.get("kubeconfig"), "1s")

    async def ask(session: Session) -> list[str]:
        resource = session.catalogue.named(kind)
        namespace = session.namespace if resource.kind.namespaced else None
        listed = await session.client.list(resource.kind, namespace)
        return [obj["metadata"]["name"] for obj in listed.items]

    async def whole() -> list[str]:
        async with asyncio.timeout(LIMIT_S), open_session(options) as session:
            return await ask(session)

    try:
        return asyncio.run(whole())
    except (SwarmKeepError, OSError):
        return []
