"""`swarmkeep delete`: asks for objects to go, and by default waits until they have."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from swarmkeep.cli.completing import objects
from swarmkeep.cli.options import ContextName, DryRun, Files, Kubeconfig, Namespace, Options, Recursive, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.cli.resources import Resource

POLL_S = 0.5
"""Between two looks at an object whose finalizers are still at work."""

_Doomed: TypeAlias = "tuple[Resource, str, str | None]"


def delete(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="KIND NAME... | KIND/NAME...", help="Of what.", autocompletion=objects)
    ] = None,
    filename: Files = None,
    recursive: Recursive = False,
    every: Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")] = False,
    labels: Annotated[str, typer.Option("--selector", "-l", help="All objects with these labels.")] = "",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="With --all or -l: everywhere.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return only when the objects are gone.")] = True,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest to wait; 0s is for ever.")] = "0s",
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
    dry_run: Annotated[DryRun, typer.Option("--dry-run", help="server: check all, delete nothing.")] = DryRun.NONE,
    output: Annotated[str | None, typer.Option("--output", "-o", help="name: print only kind/name.")] = None,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Deletes objects named in files or on the command line.

    Example: swarmkeep delete cpol redis -n shop
    """
    from swarmkeep.errors import InvalidObject
    from swarmkeep.model.quantity import parse_duration

    if output not in (None, "name"):
        raise InvalidObject(f"delete has no output format {output!r}: only name")
    limit_s = parse_duration(timeout).total_seconds()
    is_dry = dry_run is DryRun.SERVER

    async def work(session: Session) -> int:
        doomed = await _doomed(session, what or [], filename, recursive, every, labels, everywhere)
        if not doomed:
            print("No resources found", file=sys.stderr)
            return 0
        return await _Deleter(session, ignore_not_found, is_dry, output).delete_all(doomed, limit_s, wait=wait)

    run(Options(namespace, context, kubeconfig, request_timeout), work)


async def _doomed(
    session: Session,
    what: Sequence[str],
    files: Sequence[str] | None,
    recursive: bool,
    every: bool,
    labels: str,
    everywhere: bool,
) -> list[_Doomed]:
    """What is to go. Raises InvalidObject for a question that could mean more than the user thinks."""
    from swarmkeep.cli.targets import read_targets
    from swarmkeep.errors import InvalidObject

    if files:
        if what or every or labels:
            raise InvalidObject("-f already says what to delete: kinds, names, --all and -l cannot be added")
        targets = read_targets(session, files, recursive=recursive)
        # What was made first goes last: a namespace takes what is in it along.
        return [(target.resource, target.name, target.namespace) for target in reversed(targets)]
    selected = session.catalogue.select(what)
    found: list[_Doomed] = []
    for one in selected:
        namespace = None if everywhere or not one.resource.kind.namespaced else session.namespace
        if one.names:
            if every or labels or everywhere:
                raise InvalidObject("names cannot be combined with --all, -l or -A")
            found += [(one.resource, name, namespace) for name in one.names]
            continue
        if not (every or labels):
            raise InvalidObject(f"which {one.resource.kind.plural}? give names, -l, or --all")
        listed = await session.client.list(one.resource.kind, namespace, labels=labels)
        found += [(one.resource, o["metadata"]["name"], o["metadata"].get("namespace")) for o in listed.items]
    return found


class _Deleter:
    def __init__(self, session: Session, ignore_not_found: bool, is_dry: bool, output: str | None) -> None:
        self._session = session
        self._ignore_not_found = ignore_not_found
        self._is_dry = is_dry
        self._output = output

    async def delete_all(self, doomed: list[_Doomed], limit_s: float, *, wait: bool) -> int:
        """Asks for all of them to go, then waits for all; returns the exit code."""
        import asyncio

        from swarmkeep.cli.failures import explain_failure
        from swarmkeep.errors import NotFound, SwarmKeepError, Unavailable

        code = 0
        going: list[tuple[_Doomed, str]] = []
        for one in doomed:
            try:
                going.append((one, await self._ask(one)))
            except Unavailable:
                raise
            except SwarmKeepError as error:
                if isinstance(error, NotFound) and self._ignore_not_found:
                    continue
                print(explain_failure(error), file=sys.stderr)
                code = max(code, error.exit_code)
        if wait and not self._is_dry:
            try:
                async with asyncio.timeout(limit_s or None):
                    for one, uid in going:
                        await self._gone(one, uid)
            except TimeoutError:
                print("error: timed out: some objects are still there, held by their finalizers", file=sys.stderr)
                return max(code, 1)
        return code

    async def _ask(self, one: _Doomed) -> str:
        """Deletes one object and returns its uid, so that one made anew under its name is not waited for."""
        resource, name, namespace = one
        uid = str((await self._session.client.get(resource.kind, name, namespace))["metadata"].get("uid") or "")
        await self._session.client.delete(resource.kind, name, namespace, dry_run=self._is_dry)
        if self._output == "name":
            print(f"{resource.title}/{name}")
        else:
            where = f" from {namespace} namespace" if namespace else ""
            print(f'{resource.title} "{name}" deleted{where}' + (" (server dry run)" if self._is_dry else ""))
        return uid

    async def _gone(self, one: _Doomed, uid: str) -> None:
        import asyncio

        from swarmkeep.errors import NotFound

        resource, name, namespace = one
        while True:
            try:
                found = await self._session.client.get(resource.kind, name, namespace)
            except NotFound:
                return
            if found["metadata"].get("uid") != uid:
                return
            await asyncio.sleep(POLL_S)
