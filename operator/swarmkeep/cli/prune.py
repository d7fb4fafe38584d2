"""`swarmkeep prune`: what becomes of each version by its policy's retention, and why; or lets go of what is left over.

The plan is the operator's own (plan/pruning.py). Letting go is deleting the Checkpoint object: from there on it is as
with `delete ckpt`, and a node that reaches the storage removes the data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.completing import prunable
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from datetime import datetime

    from swarmkeep.model.checkpoint import Checkpoint
    from swarmkeep.model.ident import Ref
    from swarmkeep.model.kinds import Kind
    from swarmkeep.model.policy import Policy
    from swarmkeep.model.workload import Workload
    from swarmkeep.plan.pruning import Pruning

HELD = "hold"
"""What becomes of a version that no rule keeps while nothing of its workload may go."""


def prune(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME | wl/NAME | cpol/NAME]...",
            help="Workloads, or policies for all their workloads; by default all workloads of the namespace.",
            autocompletion=prunable,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what becomes of each version and why; delete nothing.")
    ] = False,
    stopped: Annotated[
        bool, typer.Option("--stopped", help="Workloads that are Stopped as well; the operator leaves those alone.")
    ] = False,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="With --dry-run: only rows.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Lets go of versions that the retention of their policy does not keep.

    The operator does that by itself for workloads that are Running. With --dry-run `keep` and `remove` are what the
    rules say; `hold` stands for what they do not keep while nothing of the workload may go, and the reason says why.

    Example: swarmkeep prune redis.1 --dry-run
    """

    async def work(session: Session) -> int:
        from swarmkeep.errors import InvalidObject

        if what and everywhere:
            raise InvalidObject("names cannot be combined with -A")
        looker = _Looker(session, None if everywhere else session.namespace, stopped)
        looks = await looker.look(await looker.choose(what or []))
        if not looks:
            where = "" if everywhere else f" in {session.namespace} namespace"
            print(f"No workloads found{where}.", file=sys.stderr)
            return 0
        if dry_run:
            _show(looks, await looker.now(), everywhere=everywhere, headers=not no_headers)
            return 0
        return await _let_go(session, looker, looks)

    run(Options(namespace, context, kubeconfig, request_timeout), work)


@dataclass(frozen=True, slots=True)
class Look:
    """What was found out about one workload."""

    workload: Workload
    pruning: Pruning


class _Looker:
    """Asks the API for all that the plan needs."""

    def __init__(self, session: Session, namespace: str | None, stopped_too: bool) -> None:
        self._session = session
        self._client = session.client
        self._namespace = namespace
        self._stopped_too = stopped_too

    async def now(self) -> datetime:
        """The server's time. Raises Unavailable."""
        from swarmkeep.cli.server_time import server_time

        return await server_time(self._client)

    async def choose(self, words: Sequence[str]) -> list[Workload]:
        """The workloads that are meant. Raises NotFound, InvalidObject."""
        from swarmkeep.errors import NotFound
        from swarmkeep.model.kinds import POLICY, WORKLOAD
        from swarmkeep.model.workload import parse_workload

        listed = await self._client.list(WORKLOAD, self._namespace)
        workloads = sorted(map(parse_workload, listed.items), key=lambda workload: workload.ref)
        if not words:
            return workloads
        policies = {obj["metadata"]["name"] for obj in (await self._client.list(POLICY, self._namespace)).items}
        chosen: dict[Ref, Workload] = {}
        for word in words:
            kind, name = self._kind_of(word)
            mine = [workload for workload in workloads if workload.ref.name == name and kind is not POLICY]
            if not mine and kind is not WORKLOAD and name in policies:
                mine = [workload for workload in workloads if workload.policy == name]
            elif not mine:
                sort = kind.name if kind else "Workload or CheckpointPolicy"
                raise NotFound(f'there is no {sort} "{name}" in namespace {self._namespace}')
            chosen |= {workload.ref: workload for workload in mine}
        return list(chosen.values())

    async def look(self, workloads: Sequence[Workload]) -> list[Look]:
        """What becomes of their versions now."""
        from swarmkeep.model.checkpoint import parse_checkpoint
        from swarmkeep.model.ident import Ref
        from swarmkeep.model.kinds import CHECKPOINT, NODE, POLICY
        from swarmkeep.plan.nodes import is_lost
        from swarmkeep.plan.pruning import plan_pruning

        only = f"spec.workload={workloads[0].ref.name}" if len(workloads) == 1 else ""
        checkpoints: dict[Ref, list[Checkpoint]] = {}
        for obj in (await self._client.list(CHECKPOINT, self._namespace, fields=only)).items:
            checkpoint = parse_checkpoint(obj)
            checkpoints.setdefault(Ref(checkpoint.ref.namespace, checkpoint.workload), []).append(checkpoint)
        policies = _policies((await self._client.list(POLICY, self._namespace)).items)
        nodes = (await self._client.list(NODE)).items
        lost = {obj["metadata"]["name"] for obj in nodes if is_lost((obj.get("status") or {}).get("conditions") or ())}
        now = await self.now()
        return [
            Look(
                workload,
                plan_pruning(
                    workload,
                    policies.get(Ref(workload.ref.namespace, workload.policy)),
                    checkpoints.get(workload.ref, []),
                    now,
                    node_lost=workload.claim.node in lost,
                    stopped_too=self._stopped_too,
                ),
            )
            for workload in workloads
        ]

    async def look_again(self, ref: Ref) -> Look:
        """The same for one workload, as it is now. Raises ApiNotFound."""
        from swarmkeep.model.kinds import WORKLOAD
        from swarmkeep.model.workload import parse_workload

        found = parse_workload(await self._client.get(WORKLOAD, ref.name, ref.namespace))
        return (await self.look([found]))[0]

    def _kind_of(self, word: str) -> tuple[Kind | None, str]:
        from swarmkeep.errors import InvalidObject
        from swarmkeep.model.kinds import POLICY, WORKLOAD

        kind_word, slash, name = word.rpartition("/")
        if not slash:
            return None, name
        wanted = self._session.catalogue.named(kind_word).kind
        kind = next((kind for kind in (POLICY, WORKLOAD) if kind == wanted), None)
        if kind is None or not name:
            raise InvalidObject(f"{word!r}: only workloads and policies can be pruned: wl/NAME or cpol/NAME")
        return kind, name


def _policies(objects: Sequence[dict[str, Any]]) -> dict[Ref, Policy]:
    """Those that can be carried out."""
    from swarmkeep.errors import InvalidObject
    from swarmkeep.model.policy import parse_policy

    found = {}
    for obj in objects:
        try:
            policy = parse_policy(obj)
        except InvalidObject:
            continue
        found[policy.ref] = policy
    return found


def rows(look: Look, now: datetime) -> list[list[str]]:
    """Workload, version's name, age, bytes, fate and reason of each version, the newest first."""
    from swarmkeep.cli.stories import age
    from swarmkeep.model.quantity import format_bytes
    from swarmkeep.model.wire import format_time
    from swarmkeep.plan.retention import Fate

    found = []
    for verdict in look.pruning.retention.verdicts:
        item, fate, why = verdict.checkpoint, str(verdict.fate), verdict.why
        if verdict.fate is Fate.REMOVE and look.pruning.hindrance:
            fate, why = HELD, f"{why}, but {look.pruning.hindrance}"
        taken = age(format_time(item.taken_at), now) if item.taken_at else ""
        stored = format_bytes(item.stored_bytes) if item.version else ""
        found.append([look.workload.ref.name, item.ref.name, taken, stored, fate, why])
    return found


def _show(looks: Sequence[Look], now: datetime, *, everywhere: bool, headers: bool) -> None:
    from swarmkeep.cli.printing import Columns
    from swarmkeep.model.quantity import format_bytes

    titles = ["WORKLOAD", "CHECKPOINT", "TAKEN", "STORED", "FATE", "WHY"]
    table = [([look.workload.ref.namespace] if everywhere else []) + row for look in looks for row in rows(look, now)]
    if table:
        Columns((["NAMESPACE"] if everywhere else []) + titles, headers).print(table)
    for look in looks:
        if look.pruning.hindrance and not look.pruning.retention.verdicts:
            print(f"{look.workload.ref.name}: nothing goes: {look.pruning.hindrance}", file=sys.stderr)
    going = [item for look in looks for item in look.pruning.going]
    size = format_bytes(sum(item.stored_bytes for item in going))
    shared = f"; {size} were written for them, of which newer versions may use a part" if going else ""
    print(f"{len(going)} of {len(table)} would go{shared}", file=sys.stderr)


async def _let_go(session: Session, looker: _Looker, looks: Sequence[Look]) -> int:
    """Asks for all that goes to be deleted; returns the exit code."""
    from swarmkeep.cli.failures import explain_failure
    from swarmkeep.errors import NotFound, SwarmKeepError, Unavailable

    code = gone = 0
    for planned in looks:
        held = len(planned.pruning.retention.going)
        if planned.pruning.hindrance and (held or not planned.pruning.retention.verdicts):
            print(f"{planned.workload.ref.name}: nothing goes: {planned.pruning.hindrance}", file=sys.stderr)
        if not planned.pruning.going:
            continue
        try:
            # Much may have happened while others were dealt with.
            gone += await _delete(session, await looker.look_again(planned.workload.ref))
        except NotFound:
            continue
        except Unavailable:
            raise
        except SwarmKeepError as error:
            print(f"{planned.workload.ref.name}: {explain_failure(error)}", file=sys.stderr)
            code = max(code, error.exit_code)
    if not gone and not code:
        print("Nothing to prune.", file=sys.stderr)
    return code


async def _delete(session: Session, look: Look) -> int:
    """Deletes the oldest first, and stops at the first one that has changed since: then the plan is out of date."""
    from swarmkeep.errors import NotFound
    from swarmkeep.model.kinds import CHECKPOINT

    because = {verdict.checkpoint.ref: verdict.why for verdict in look.pruning.retention.verdicts}
    gone = 0
    for item in look.pruning.going:
        name, namespace = item.ref.name, item.ref.namespace
        try:
            await session.client.delete(CHECKPOINT, name, namespace, resource_version=item.resource_version)
        except NotFound:
            continue
        gone += 1
        print(f'checkpoint.swarmkeep.dev "{name}" deleted from {namespace} namespace: {because[item.ref]}')
    return gone
