"""`swarmkeep migrate`: moves a workload to another node with its state, and says how that went.

It leaves a Migration object; the operator carries it out, whether anybody waits for it or not.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.completing import nodes, workloads
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN_EXIT = 3
"""It had not ended when the time to wait was over."""
_ENDED = ("Done", "Failed")

Object = dict[str, Any]


class Mode(StrEnum):
    """How the state gets to the target."""

    STOP_AND_COPY = "StopAndCopy"
    PRE_COPY = "PreCopy"


def migrate(
    workload: Annotated[
        str, typer.Argument(metavar="WORKLOAD", help="The workload, as redis.1.", autocompletion=workloads)
    ],
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="Where to.", autocompletion=nodes)],
    mode: Annotated[
        Mode, typer.Option("--mode", case_sensitive=False, help="PreCopy brings versions there before it stops.")
    ] = Mode.STOP_AND_COPY,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has ended.")] = True,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest to wait; 0s is for ever.")] = "20m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether it could be moved.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Moves a workload to another node, with its state.

    It is stopped with a final version and restored from that: a task by the Swarm in the ordinary way, a plain
    container by the operator. What would not work is refused before anything stops. Ends with 1 when it was refused or
    went wrong; it runs somewhere then, and the message says where. Ends with 3 when it had not ended in time; it goes
    on.

    Example: swarmkeep migrate redis.1 --to n3 --mode PreCopy
    """
    from swarmkeep.model.quantity import parse_duration

    limit_s = parse_duration(timeout).total_seconds()
    name = workload.rpartition("/")[2]

    async def work(session: Session) -> int:
        from swarmkeep.model.kinds import MIGRATION, WORKLOAD

        await session.client.get(WORKLOAD, name, session.namespace)
        body = {
            "apiVersion": MIGRATION.api_version,
            "kind": MIGRATION.name,
            "metadata": {"generateName": f"{name}-"},
            "spec": {"workload": name, "to": {"node": to}, "mode": str(mode), "dryRun": dry_run},
        }
        made = await session.client.create(MIGRATION, body, session.namespace)
        called = made["metadata"]["name"]
        if not dry_run:
            print(f"migration.{MIGRATION.group}/{called} created", flush=True)
        if not (wait or dry_run):
            return 0
        ended = await _follow(session, called, limit_s, quiet=dry_run)
        if dry_run:
            await session.client.delete(MIGRATION, called, session.namespace)
        return _verdict(ended, called)

    run(Options(namespace, context, kubeconfig, request_timeout), work)


async def _follow(session: Session, name: str, limit_s: float, *, quiet: bool) -> Object | None:
    """The object when it has ended, or as it was last; None when somebody deleted it. Says each step on the way."""
    import asyncio

    from swarmkeep.kube.mirror import Mirror
    from swarmkeep.model.kinds import MIGRATION

    changed = asyncio.Event()
    mirror = Mirror(
        session.client,
        MIGRATION,
        session.namespace,
        fields=f"metadata.name={name}",
        on_change=lambda *_: changed.set(),
    )
    running = asyncio.create_task(mirror.run())
    told: set[str] = set()
    obj: Object | None = None
    try:
        async with asyncio.timeout(limit_s or None):
            await mirror.wait_synced()
            while (obj := mirror.get(name, session.namespace)) is not None:
                for line in () if quiet else steps(obj):
                    if line not in told:
                        print(line, flush=True)
                        told.add(line)
                if (obj.get("status") or {}).get("phase") in _ENDED:
                    break
                changed.clear()
                await changed.wait()
    except TimeoutError:
        pass
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return obj


def steps(migration: Object) -> Iterator[str]:
    """A line for all that has happened so far; of an end nothing, that is the verdict's."""
    from swarmkeep.cli.printing import cell_text
    from swarmkeep.model.quantity import format_bytes

    status = migration.get("status") or {}
    for item in status.get("rounds") or ():
        if item.get("readyAt"):
            version, size = item.get("version"), format_bytes(item.get("bytes") or 0)
            yield f"round {item['number']}: version {version} is there, {size} were new"
    if status.get("phase") not in (None, *_ENDED):
        yield cell_text(f"{status['phase']}: {status.get('message') or ''}")


def _verdict(migration: Object | None, name: str) -> int:
    from swarmkeep.cli.printing import cell_text

    if migration is None:
        print(f"error: migration {name} was deleted before it had ended", file=sys.stderr)
        return 1
    status = migration.get("status") or {}
    message = cell_text(status.get("message") or "")
    if status.get("phase") == "Done":
        print(message)
        return 0
    if status.get("phase") == "Failed":
        print(f"error: {message}", file=sys.stderr)
        return 1
    at = status.get("phase") or "not looked at yet: is an operator running?"
    print(f"error: timed out, migration {name} is {at} {message}", file=sys.stderr)
    return UNKNOWN_EXIT
