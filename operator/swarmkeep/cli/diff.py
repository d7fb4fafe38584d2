"""`swarmkeep diff`: what apply would change. Exit code 0: nothing, 1: something, more: it could not be found out."""

from __future__ import annotations

import difflib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.options import (
    FIELD_MANAGER,
    ContextName,
    Files,
    Kubeconfig,
    Namespace,
    Options,
    Recursive,
    RequestTimeout,
)
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.cli.targets import Target

DIFFERENT = 1
TROUBLE = 2


def diff(
    filename: Files = None,
    recursive: Recursive = False,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="As if fields that somebody else set were taken over.")
    ] = False,
    field_manager: Annotated[
        str, typer.Option("--field-manager", help="In whose name fields are set.")
    ] = FIELD_MANAGER,
    show_managed_fields: Annotated[bool, typer.Option("--show-managed-fields", help="Who set which field.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Shows what apply would change. $KUBECTL_EXTERNAL_DIFF names another program to compare with.

    Example: swarmkeep diff -f policy.yaml
    """
    from swarmkeep.cli.failures import explain_failure
    from swarmkeep.errors import SwarmKeepError

    async def work(session: Session) -> int:
        from swarmkeep.cli.failures import explain_document_failure
        from swarmkeep.cli.targets import read_targets

        code = 0
        pairs: list[tuple[str, str, str]] = []
        for target in read_targets(session, filename, recursive=recursive):
            try:
                before, after = await _both(session, target, force_conflicts, field_manager, show_managed_fields)
            except SwarmKeepError as error:
                print(explain_document_failure(error, target.document), file=sys.stderr)
                code = TROUBLE
                continue
            pairs.append((_file_name(target), before, after))
        return max(code, compare(pairs))

    try:
        run(Options(namespace, context, kubeconfig, request_timeout), work)
    except SwarmKeepError as error:
        # 1 would say "there are differences" to a script.
        print(explain_failure(error), file=sys.stderr)
        raise typer.Exit(max(TROUBLE, error.exit_code)) from None


def compare(pairs: list[tuple[str, str, str]]) -> int:
    """Prints the differences of (name, before, after); returns 0 when there are none, else 1 or the program's code."""
    changed = [pair for pair in pairs if pair[1] != pair[2]]
    if not changed:
        return 0
    if program := os.environ.get("KUBECTL_EXTERNAL_DIFF"):
        return _compare_with(shlex.split(program), changed)
    for name, before, after in changed:
        lines = difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), f"live/{name}", f"merged/{name}"
        )
        sys.stdout.writelines(_coloured(lines))
    return DIFFERENT


async def _both(
    session: Session, target: Target, force: bool, field_manager: str, managed_fields: bool
) -> tuple[str, str]:
    from swarmkeep.cli.printing import to_yaml, without_managed_fields
    from swarmkeep.kube.answers import ApiNotFound

    kind = target.resource.kind
    try:
        live: dict[str, Any] | None = await session.client.get(kind, target.name, target.namespace)
    except ApiNotFound:
        live = None
    merged = await session.client.apply(
        kind,
        target.document.body,
        target.namespace,
        field_manager=field_manager,
        force=force,
        dry_run=True,
        strict=True,
    )
    shown = [obj if managed_fields else without_managed_fields(obj) for obj in (live or {"metadata": {}}, merged)]
    if live is not None:
        # The dry run's own number says nothing about the change.
        shown[1]["metadata"] = {**shown[1]["metadata"], "resourceVersion": live["metadata"].get("resourceVersion")}
    return to_yaml(shown[0]) if live is not None else "", to_yaml(shown[1])


def _file_name(target: Target) -> str:
    parts = (target.resource.kind.group, target.resource.kind.version, target.resource.kind.name)
    return ".".join(part for part in (*parts, target.namespace or "", target.name) if part)


def _coloured(lines: Iterator[str]) -> Iterator[str]:
    from swarmkeep.cli.printing import uses_colour

    colours = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"} if uses_colour(sys.stdout) else {}
    for line in lines:
        colour = colours.get(line[:1], "")
        yield f"{colour}{line.rstrip(chr(10))}\033[0m\n" if colour else line


def _compare_with(command: list[str], pairs: list[tuple[str, str, str]]) -> int:
    with tempfile.TemporaryDirectory(prefix="swarmkeep-diff-") as folder:
        sides = []
        for side, index in (("LIVE", 1), ("MERGED", 2)):
            path = Path(folder, side)
            path.mkdir()
            sides.append(str(path))
            for pair in pairs:
                (path / pair[0]).write_text(pair[index])
        sys.stdout.flush()
        try:
            code = subprocess.run([*command, *sides], check=False).returncode
        except OSError as error:
            print(f"error: cannot run {command[0]}, of KUBECTL_EXTERNAL_DIFF: {error.strerror}", file=sys.stderr)
            return TROUBLE
    return code if code >= 0 else TROUBLE
