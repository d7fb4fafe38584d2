"""`swarmkeep forget`: the next start of a workload is fresh, on purpose.

It leaves a Restore object; the operator carries it out, whether anybody waits for it or not.
"""

from __future__ import annotations

from typing import Annotated

import typer

from swarmkeep.cli.completing import workloads
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run


def forget(
    workload: Annotated[
        str, typer.Argument(metavar="WORKLOAD", help="The workload, as redis.1.", autocompletion=workloads)
    ],
    now: Annotated[bool, typer.Option("--now", help="End its task now; else it counts for the next start.")] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep-current/--discard-current", help="Whether a last version is taken before the task ends."),
    ] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has ended, or waits itself.")] = True,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest to wait; 0s is for ever.")] = "10m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Has the next start of a workload be fresh, on purpose.

    No version is deleted: with swarmkeep rollback each can be gone back to. But nothing that was taken before goes on
    by itself any more, not even when the fresh task crashes before its first version.

    Ends with 1 when it was refused or went wrong, with 3 when it had not ended in time; it goes on.

    Example: swarmkeep forget redis.1 --now
    """
    from swarmkeep.cli.restoring import Wish, carry_out, find
    from swarmkeep.model.quantity import parse_duration
    from swarmkeep.plan.rollback import Goal

    limit_s = parse_duration(timeout).total_seconds()

    async def work(session: Session) -> int:
        found, _ = await find(session, workload.rpartition("/")[2], Goal(fresh=True))
        wish = Wish(found, None, now=now, keep=keep)
        return await carry_out(session, wish, wait=wait, dry_run=dry_run, limit_s=limit_s)

    run(Options(namespace, context, kubeconfig, request_timeout), work)
