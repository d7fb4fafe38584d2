"""`swarmkeep describe`: an object's whole story: what is wanted, how it is, why, and what happened."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.completing import objects
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.cli.resources import Resource, Selected

VERSIONS_SHOWN = 10
"""Of a workload's versions, so many of the newest."""


def describe(
    what: Annotated[
        list[str],
        typer.Argument(metavar="KIND [NAME...] | KIND/NAME...", help="What to describe.", autocompletion=objects),
    ],
    labels: Annotated[str, typer.Option("--selector", "-l", help="Only objects with these labels.")] = "",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    show_events: Annotated[bool, typer.Option("--show-events/--no-show-events", help="What happened.")] = True,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Tells all about objects: fields, conditions, versions and events, oldest first.

    Example: swarmkeep describe wl redis.1 -n shop
    """
    from swarmkeep.errors import InvalidObject

    async def work(session: Session) -> int:
        selected = session.catalogue.select(what)
        if any(one.names for one in selected) and (labels or everywhere):
            raise InvalidObject("names cannot be combined with -l or -A")
        code, told = 0, 0
        for one in selected:
            objects, failed = await _objects(session, one, labels, everywhere)
            code = code or failed
            for obj in objects:
                if told:
                    print("\n")
                sys.stdout.write(await _story(session, one.resource, obj, show_events))
                told += 1
        if not told and not code:
            where = "" if everywhere else f" in {session.namespace} namespace"
            print(f"No resources found{where}.", file=sys.stderr)
        return code

    run(Options(namespace, context, kubeconfig, request_timeout), work)


async def _objects(session: Session, one: Selected, labels: str, everywhere: bool) -> tuple[list[dict[str, Any]], int]:
    """The objects asked for and an exit code; those whose names begin with a given one when none is called so."""
    from swarmkeep.cli.failures import explain_failure
    from swarmkeep.kube.answers import ApiNotFound

    kind = one.resource.kind
    namespace = session.namespace if kind.namespaced and not everywhere else None
    if not one.names:
        return (await session.client.list(kind, namespace, labels=labels)).items, 0
    found: list[dict[str, Any]] = []
    code = 0
    for name in one.names:
        try:
            found.append(await session.client.get(kind, name, namespace))
        except ApiNotFound as error:
            listed = (await session.client.list(kind, namespace)).items
            matching = [obj for obj in listed if obj["metadata"]["name"].startswith(name)]
            if not matching:
                print(explain_failure(error), file=sys.stderr)
                code = error.exit_code
            found += matching
    return found, code


async def _story(session: Session, resource: Resource, obj: dict[str, Any], show_events: bool) -> str:
    from datetime import UTC, datetime

    from swarmkeep.cli import stories
    from swarmkeep.model.kinds import CHECKPOINT, EVENT, WORKLOAD

    now = datetime.now(UTC)
    metadata = obj["metadata"]
    text = stories.tell(obj, now)
    if resource.kind == WORKLOAD:
        listed = await session.client.list(
            CHECKPOINT, metadata["namespace"], fields=f"spec.workload={metadata['name']}"
        )
        text += stories.versions(listed.items, now, limit=VERSIONS_SHOWN)
    if show_events:
        about = f"involvedObject.name={metadata['name']},involvedObject.kind={obj['kind']}"
        if metadata.get("uid"):
            about += f",involvedObject.uid={metadata['uid']}"
        where = metadata.get("namespace") if resource.kind.namespaced else None
        listed = await session.client.list(EVENT, where, fields=about)
        text += stories.events(listed.items, now)
    # Messages come from containers, too: nothing in them may steer the terminal.
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
