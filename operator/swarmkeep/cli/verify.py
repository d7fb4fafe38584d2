"""`swarmkeep verify`: has versions read back, waits for what is found, and says which files are hit.

Only nodes reach storage: this leaves a wish on each Checkpoint (`spec.verify`), the operator gives it to a node, and
that node's agent answers in `status.verified`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.model.ident import Ref

POLL_S = 1.0
AT_ONCE = 8
"""Wishes on their way to the API at a time."""
_STORED = ("Stored", "Replicated")
_BAD = frozenset({"Damaged", "DamagedCopy"})
UNKNOWN_EXIT = 3
"""Of some versions nothing could be found out."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the wish for one version."""

    name: str
    result: str
    """Good, Repaired, DamagedCopy, Damaged, Unrestorable, Gone (it was deleted meanwhile), Unknown, or Waiting."""
    details: tuple[str, ...] = ()


def verify(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[VERSION|WORKLOAD...]", help="redis.1-v12, or redis.1 for all of it.")
    ] = None,
    location: Annotated[str | None, typer.Option("--location", help="Only what lies in this StorageLocation.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="Only manifests and the presence of packs, or every byte.")
    ] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Every byte, and then a restore in isolation on some node.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the results and print them.")] = True,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest to wait; 0s is for ever.")] = "10m",
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Reads versions back from storage and says whether they are whole.

    Looks in every location that has them, or in the one that --location names; without names, at all that lies there.
    What is damaged in one location and good in another is repaired. Ends with 1 when damage was found that is left,
    with 3 when something could not be verified in time. With --restore a version is restored in isolation on a node,
    without network and with a cgroup and files of its own: of a workload the newest, of named versions each.

    Example: swarmkeep verify redis.1-v12 --restore
    """
    from swarmkeep.errors import InvalidObject
    from swarmkeep.model.quantity import parse_duration

    if quick and restore:
        raise InvalidObject("--quick and --restore exclude each other: a restore reads every byte")
    limit_s = parse_duration(timeout).total_seconds()
    if not what and not location:
        raise InvalidObject("verify what? name versions or workloads, or a location with --location")

    async def work(session: Session) -> int:
        objects = await _targets(session, what or (), location)
        if restore:
            objects = newest_of_each(objects, what or ())
        how = "Restore" if restore else "Quick" if quick else "Full"
        wish = await _ask(session, objects, {"how": how, "location": location})
        if not wait:
            print(f"asked for {len(wish)} versions; see `swarmkeep get ckpt` for what is found")
            return 0
        verdicts = await _await_all(session, wish, limit_s)
        return _print(verdicts)

    run(Options(namespace, context, kubeconfig, request_timeout), work)


async def _targets(session: Session, what: Sequence[str], location: str | None) -> list[Object]:
    """The stored versions that are meant. Raises NotFound for a name that is neither version nor workload."""
    from swarmkeep.errors import NotFound
    from swarmkeep.model.ident import Ref
    from swarmkeep.model.kinds import CHECKPOINT, LOCATION

    if location is not None:
        await session.client.get(LOCATION, location)
    if location is not None and not what:
        # A location is not of a namespace, and neither is what lies in it.
        listed = await session.client.list(CHECKPOINT)
        return [obj for obj in listed.items if location in _stored_in(obj)]
    found: dict[Ref, Object] = {}
    for word in what:
        kind, slash, rest = word.partition("/")
        name = rest if slash else word
        if slash:
            session.catalogue.named(kind)
        objects = (await session.client.list(CHECKPOINT, session.namespace, fields=f"spec.workload={name}")).items
        try:
            objects.append(await session.client.get(CHECKPOINT, name, session.namespace))
        except NotFound:
            if not objects:
                raise NotFound(f"there is neither a version nor a workload with versions called {name}") from None
        stored = [obj for obj in objects if (places := _stored_in(obj)) and location in (None, *places)]
        if not stored:
            where = f" in {location}" if location else ""
            raise NotFound(f"{name} has no stored version{where}: there is nothing to verify")
        found |= {Ref(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in stored}
    return list(found.values())


def newest_of_each(objects: Sequence[Object], named: Sequence[str]) -> list[Object]:
    """Of each workload the newest version; versions that are named stay. A restore costs as much as a real one."""
    newest: dict[tuple[str, str], Object] = {}
    chosen = []
    for obj in objects:
        meta = obj["metadata"]
        if any(meta["name"] == word.rpartition("/")[2] for word in named):
            chosen.append(obj)
            continue
        key = (meta["namespace"], obj["spec"]["workload"])
        if key not in newest or obj["status"]["version"] > newest[key]["status"]["version"]:
            newest[key] = obj
    return [*chosen, *newest.values()]


def _stored_in(obj: Object) -> list[str]:
    """The locations that have a version; none while it is not stored."""
    status = obj.get("status") or {}
    if status.get("phase") not in _STORED:
        return []
    listed = status.get("locations") or [{"name": status.get("location"), "state": "Stored"}]
    return [str(each["name"]) for each in listed if each["state"] == "Stored"]


async def _ask(session: Session, objects: Sequence[Object], wish: Object) -> dict[Ref, str]:
    """Leaves a wish on each version; returns when each was wished."""
    import asyncio
    from datetime import UTC, datetime

    from swarmkeep.errors import NotFound
    from swarmkeep.model.ident import Ref
    from swarmkeep.model.kinds import CHECKPOINT
    from swarmkeep.model.wire import format_time

    # The instant tells this wish from all others, whatever the clocks of nodes say.
    requested_at = format_time(datetime.now(UTC))
    patch = {"spec": {"verify": {"requestedAt": requested_at, **wish}}}
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(ref: Ref) -> Ref:
        async with gate:
            # One that was pruned a moment ago is found to be gone later.
            with suppress(NotFound):
                await session.client.patch(CHECKPOINT, ref.name, patch, ref.namespace)
        return ref

    refs = [Ref(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in objects]
    return dict.fromkeys(await asyncio.gather(*map(ask, refs)), requested_at)


async def _await_all(session: Session, wishes: dict[Ref, str], limit_s: float) -> list[Verdict]:
    """The verdicts, in the order of the names; what has none in time is Waiting."""
    import asyncio
    import time

    from swarmkeep.model.ident import Ref
    from swarmkeep.model.kinds import CHECKPOINT

    begun = time.monotonic()
    while True:
        spaces = sorted({ref.namespace for ref in wishes})
        listed = [obj for space in spaces for obj in (await session.client.list(CHECKPOINT, space)).items]
        now = {Ref(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in listed}
        shown = len(spaces) > 1
        verdicts = [judge(str(ref) if shown else ref.name, now.get(ref), wishes[ref]) for ref in sorted(wishes)]
        passed_s = time.monotonic() - begun
        if not any(verdict.result == "Waiting" for verdict in verdicts) or (limit_s and passed_s > limit_s):
            return verdicts
        await asyncio.sleep(min(POLL_S + passed_s / 60, 5 * POLL_S))


def judge(name: str, obj: Object | None, requested_at: str) -> Verdict:
    """What the object says about the wish of that instant."""
    status = (obj or {}).get("status") or {}
    if obj is None or status.get("phase") not in _STORED or "deletionTimestamp" in obj["metadata"]:
        return Verdict(name, "Gone", ("deleted meanwhile",))
    seen = status.get("verified") or {}
    if seen.get("requestedAt") != requested_at:
        order = status.get("verification") or {}
        where = f"given to {order['node']}" if order.get("node") else "not given to a node yet: is an operator running?"
        return Verdict(name, "Waiting", (str(order.get("message") or where),))
    details: list[str] = []
    for look in seen.get("locations") or ():
        details += _details(look)
    result = str(seen.get("result"))
    if seen.get("trouble") and result not in _BAD:
        return Verdict(name, "Unknown", (str(seen["trouble"]),))
    tried = seen.get("restore") or {}
    if seen.get("how") == "Restore" and tried and result not in _BAD:
        result = "Unknown" if tried.get("result") == "Unknown" else result
        details = [f"restore on {tried.get('node')}: {tried.get('message')}"]
    return Verdict(name, result, tuple(details))


def _details(look: Object) -> list[str]:
    """What was found in one location."""
    name = look["name"]
    if look.get("trouble"):
        return [f"{name}: not looked at: {look['trouble']}"]
    if look.get("result") != "Damaged":
        mended = f", written again out of {look['repairedFrom']}" if look.get("repairedFrom") else ""
        return [f"{name}: {look.get('how')} on {look.get('node')}{mended}"]
    problems = [
        f"{name}: {each.get('path') or 'the whole version'}: {each.get('problem')}"
        for each in look.get("problems") or ()
    ]
    more = int(look.get("damagedFiles") or 0) - len(problems)
    if more > 0:
        problems.append(f"{name}: and {more} more files")
    if look.get("notRepaired"):
        problems.append(f"{name}: {look['notRepaired']}")
    return problems


def _print(verdicts: Sequence[Verdict]) -> int:
    """Prints the table; returns the exit code."""
    from swarmkeep.cli.printing import Columns, cell_text

    columns = Columns(["VERSION", "RESULT", "DETAILS"])
    rows = []
    for verdict in verdicts:
        first, *more = verdict.details or ("",)
        rows.append([verdict.name, verdict.result, cell_text(first)])
        rows += [["", "", cell_text(text)] for text in more]
    columns.print(rows)
    results = [verdict.result for verdict in verdicts]
    if "Waiting" in results:
        print(f"error: timed out: {results.count('Waiting')} versions are still waited for", file=sys.stderr)
    if {*_BAD, "Unrestorable"} & set(results):
        return 1
    return UNKNOWN_EXIT if {"Waiting", "Unknown"} & set(results) else 0
