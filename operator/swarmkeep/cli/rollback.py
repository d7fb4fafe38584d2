"""`swarmkeep rollback`: brings a workload back to a version or to a time, and says how that went.

It leaves a Restore object; the operator carries it out, whether anybody waits for it or not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from swarmkeep.cli.completing import workloads
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from datetime import datetime

_VERSION = re.compile(r"(?:(?:.+-)?v)?([1-9][0-9]{0,8})", re.ASCII)
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)


def rollback(
    workload: Annotated[
        str, typer.Argument(metavar="WORKLOAD", help="The workload, as redis.1.", autocompletion=workloads)
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="VERSION", help="The version: v12, or 12. By default the newest.")
    ] = "",
    to_time: Annotated[
        str,
        typer.Option(
            "--to-time",
            metavar="TIME",
            help="As it was then: 10:30 of today in this computer's time zone, or 2026-01-31T10:30:00Z.",
        ),
    ] = "",
    keep: Annotated[
        bool,
        typer.Option("--keep-current/--discard-current", help="Whether a last version is taken before the task ends."),
    ] = True,
    next_start: Annotated[
        bool, typer.Option("--next-start", help="Stop nothing: it counts for whenever its next task starts.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has ended.")] = True,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest to wait; 0s is for ever.")] = "10m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Brings a workload back to a version, with its memory and files as they were.

    Its task is ended with a last version, so that the rollback can itself be taken back, and the one that Swarm makes
    next is restored. Versions that are newer stay, and are not gone on from by themselves any more. What there is to go
    back to: swarmkeep history redis.1, or swarmkeep get ckpt.

    Ends with 1 when it was refused or went wrong, with 3 when it had not ended in time; it goes on.

    Example: swarmkeep rollback redis.1 --to v12

    Example: swarmkeep rollback redis.1 --to-time 10:30 --dry-run
    """
    from datetime import UTC, datetime

    from swarmkeep.cli.restoring import Wish, carry_out, find
    from swarmkeep.errors import InvalidObject
    from swarmkeep.model.quantity import parse_duration
    from swarmkeep.plan.rollback import Goal

    limit_s = parse_duration(timeout).total_seconds()
    if to and to_time:
        raise InvalidObject("--to and --to-time exclude each other: give one of them")
    moment = parse_moment(to_time, datetime.now(UTC)) if to_time else None
    goal = Goal(parse_version(to) if to else None, moment)

    async def work(session: Session) -> int:
        found, chosen = await find(session, workload.rpartition("/")[2], goal)
        wish = Wish(found, chosen, now=not next_start, keep=keep)
        return await carry_out(session, wish, wait=wait, dry_run=dry_run, limit_s=limit_s)

    run(Options(namespace, context, kubeconfig, request_timeout), work)


def parse_version(text: str) -> int:
    """The number in `v12`, `12` or `redis.1-v12`. Raises InvalidObject."""
    from swarmkeep.errors import InvalidObject

    match = _VERSION.fullmatch(text)
    if match is None:
        raise InvalidObject(f"--to {text}: a version is a number, as v12; see swarmkeep get ckpt")
    return int(match[1])


def parse_moment(text: str, now: datetime) -> datetime:
    """A time of today on this computer's clock, or RFC 3339. Raises InvalidObject, also for one that has not come."""
    from swarmkeep.cli.restoring import local
    from swarmkeep.errors import InvalidObject
    from swarmkeep.model.wire import parse_time

    match = _CLOCK.fullmatch(text)
    if match is None:
        try:
            moment = parse_time(text)
        except InvalidObject as error:
            raise InvalidObject(f"--to-time {error}, or as 10:30 for today") from None
    else:
        hour, minute, second = (int(part or 0) for part in match.groups())
        # Built anew of the date and without a zone: at another time of the day another offset may hold.
        today = now.astimezone().replace(tzinfo=None)
        moment = today.replace(hour=hour, minute=minute, second=second, microsecond=0).astimezone(now.tzinfo)
    if moment > now:
        raise InvalidObject(f"--to-time {text} has not come yet: it is {local(now)}; for another day write it in full")
    return moment
