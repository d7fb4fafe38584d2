"""`swarmkeep wait`: returns when objects are as wanted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.completing import objects
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.cli.resources import Resource

Test = Callable[[dict[str, Any] | None], bool]
"""Whether an object, None when it is not there, is as wanted."""


def wait(
    what: Annotated[
        list[str],
        typer.Argument(metavar="KIND NAME... | KIND/NAME...", help="What to wait for.", autocompletion=objects),
    ],
    wanted: Annotated[
        str, typer.Option("--for", help="condition=TYPE[=STATUS], jsonpath=PATH[=VALUE], create or delete.")
    ],
    timeout: Annotated[str, typer.Option("--timeout", help="The longest to wait.")] = "30s",
    every: Annotated[bool, typer.Option("--all", help="All objects of the kind that are there now.")] = False,
    labels: Annotated[str, typer.Option("--selector", "-l", help="All objects with these labels.")] = "",
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Waits until objects are as wanted.

    Example: swarmkeep wait cpol/redis --for=condition=Protected --timeout=2m
    """
    from swarmkeep.errors import InvalidObject
    from swarmkeep.model.quantity import parse_duration

    test = compile_test(wanted)
    limit_s = parse_duration(timeout).total_seconds()

    async def work(session: Session) -> int:
        selected = session.catalogue.select(what)
        awaited: list[tuple[Resource, str, str | None]] = []
        for one in selected:
            where = session.namespace if one.resource.kind.namespaced else None
            names = list(one.names)
            if not names:
                if not (every or labels):
                    raise InvalidObject(f"which {one.resource.kind.plural}? give names, -l, or --all")
                listed = await session.client.list(one.resource.kind, where, labels=labels)
                names = [obj["metadata"]["name"] for obj in listed.items]
            awaited += [(one.resource, name, where) for name in names]
        if not awaited:
            print("error: no matching resources found", file=sys.stderr)
            return 1
        done = await asyncio.gather(*(_until(session, *one, test, wanted, limit_s) for one in awaited))
        return 0 if all(done) else 1

    run(Options(namespace, context, kubeconfig, request_timeout), work)


def compile_test(wanted: str) -> Test:
    """Reads the value of --for. Raises InvalidObject."""
    from swarmkeep.cli.jsonpath import as_text, compile_path
    from swarmkeep.errors import InvalidObject
    from swarmkeep.model.conditions import find_condition

    how, _, rest = wanted.partition("=")
    if wanted == "delete":
        return lambda obj: obj is None
    if wanted == "create":
        return lambda obj: obj is not None
    if how == "condition" and rest:
        type_, _, status = rest.partition("=")

        def holds(obj: dict[str, Any] | None) -> bool:
            found = find_condition(((obj or {}).get("status") or {}).get("conditions") or (), type_)
            return found is not None and str(found.get("status", "")).lower() == (status or "True").lower()

        return holds
    if how == "jsonpath" and rest:
        text, equals, value = rest.partition("}=") if rest.startswith("{") else rest.rpartition("=")
        if not equals:
            text, value = rest, ""
        elif rest.startswith("{"):
            text += "}"
        path = compile_path(text.strip("'\""))

        def leads_there(obj: dict[str, Any] | None) -> bool:
            found = path(obj) if obj is not None else []
            return bool(found) and (not equals or [as_text(one) for one in found] == [value])

        return leads_there
    raise InvalidObject(f"--for {wanted!r}: write condition=TYPE[=STATUS], jsonpath=PATH[=VALUE], create or delete")


async def _until(
    session: Session, resource: Resource, name: str, namespace: str | None, test: Test, wanted: str, limit_s: float
) -> bool:
    """Waits for one object and says how it ended."""
    from swarmkeep.kube.mirror import Mirror

    changed = asyncio.Event()
    mirror = Mirror(
        session.client,
        resource.kind,
        namespace,
        fields=f"metadata.name={name}",
        on_change=lambda *_: changed.set(),
    )
    running = asyncio.create_task(mirror.run())
    try:
        async with asyncio.timeout(limit_s):
            await mirror.wait_synced()
            present = mirror.get(name, namespace or "")
            if present is None and wanted not in ("delete", "create"):
                print(f'Error from server (NotFound): {resource.full_name} "{name}" not found', file=sys.stderr)
                return False
            while not test(mirror.get(name, namespace or "")):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        print(f"error: timed out waiting for {wanted} on {resource.title}/{name}", file=sys.stderr)
        return False
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    print(f"{resource.title}/{name} condition met")
    return True
