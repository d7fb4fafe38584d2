"""`swarmkeep history`: the life of one workload on a time line."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from swarmkeep.cli.completing import workloads
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from datetime import datetime

    from swarmkeep.cli.timeline import Timeline


class Output(StrEnum):
    """Forms other than the picture and the table."""

    JSON = "json"
    YAML = "yaml"


def history(
    workload: Annotated[
        str, typer.Argument(metavar="WORKLOAD", help="The workload, as redis.1.", autocompletion=workloads)
    ],
    since: Annotated[
        str, typer.Option("--since", help="Only what happened since then: 2h, 30m, or 2026-01-31T12:00:00Z.")
    ] = "",
    output: Annotated[Output | None, typer.Option("--output", "-o", help="The same facts for programs.")] = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="When piped: only rows.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Draws versions, freezes, moves, restores and ends of a workload on a time line.

    On a terminal a picture with a lane for each node, and a line for each thing that happened; when piped a table with
    a row for every moment. Events are kept for an hour; what is older comes from versions and from the last start and
    end. Times are UTC.

    Example: swarmkeep history redis.1 --since 2h
    """

    async def work(session: Session) -> int:
        line, namespace = await _look(session, workload.rpartition("/")[2], since)
        if output is not None:
            from swarmkeep.cli.printing import to_json, to_yaml

            facts = {"namespace": namespace, "workload": workload.rpartition("/")[2], **line.facts()}
            sys.stdout.write(to_json(facts) if output is Output.JSON else to_yaml(facts))
        elif sys.stdout.isatty():
            from rich.console import Console

            from swarmkeep.cli.printing import uses_colour
            from swarmkeep.cli.timeline_picture import picture

            console = Console(color_system="auto" if uses_colour(sys.stdout) else None)
            console.print(picture(line, console.width))
        else:
            from swarmkeep.cli.printing import Columns

            Columns(["TIME", "NODE", "WHAT", "VERSION", "FROZEN", "REASON", "MESSAGE"], not no_headers).print(
                rows(line)
            )
        if not line.moments:
            print(f"Nothing is known of {workload} since then.", file=sys.stderr)
        return 0

    run(Options(namespace, context, kubeconfig, request_timeout), work)


async def _look(session: Session, name: str, since: str) -> tuple[Timeline, str]:
    from swarmkeep.cli.server_time import server_time
    from swarmkeep.cli.timeline import make_timeline
    from swarmkeep.model.kinds import CHECKPOINT, EVENT, WORKLOAD

    now = await server_time(session.client)
    begin = parse_since(since, now) if since else None
    namespace = session.namespace
    obj = await session.client.get(WORKLOAD, name, namespace)
    checkpoints = await session.client.list(CHECKPOINT, namespace, fields=f"spec.workload={name}")
    about = f"involvedObject.name={name},involvedObject.kind={WORKLOAD.name}"
    events = await session.client.list(EVENT, namespace, fields=about)
    return make_timeline(obj, checkpoints.items, events.items, now, begin), namespace


def parse_since(text: str, now: datetime) -> datetime:
    """The moment that --since means: a length of time before `now`, or a time. Raises InvalidObject."""
    from swarmkeep.errors import InvalidObject
    from swarmkeep.model.quantity import parse_duration
    from swarmkeep.model.wire import parse_time

    if "-" not in text:
        try:
            return now - parse_duration(text)
        except OverflowError:
            raise InvalidObject(f"--since {text} is before all time") from None
    moment = parse_time(text)
    if moment > now:
        raise InvalidObject(f"--since {text} has not come yet: the server's clock says {now:%Y-%m-%dT%H:%M:%SZ}")
    return moment


def rows(line: Timeline) -> list[list[str]]:
    """Every moment with the cells of the table, oldest first."""
    from swarmkeep.cli.printing import cell_text
    from swarmkeep.cli.timeline_picture import frozen_text
    from swarmkeep.model.wire import format_time

    return [
        [
            format_time(moment.at.replace(microsecond=0)),
            cell_text(moment.node),
            str(moment.what),
            "" if moment.version is None else str(moment.version),
            "" if moment.frozen_s is None else frozen_text(moment.frozen_s),
            cell_text(moment.reason),
            cell_text(moment.message),
        ]
        for moment in line.moments
    ]
