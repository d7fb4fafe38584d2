"""`swarmkeep apply`: makes what files say so, by server-side apply."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.options import (
    FIELD_MANAGER,
    ContextName,
    DryRun,
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


def apply(
    filename: Files = None,
    recursive: Recursive = False,
    dry_run: Annotated[DryRun, typer.Option("--dry-run", help="server: check all, store nothing.")] = DryRun.NONE,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take over fields that somebody else set.")
    ] = False,
    field_manager: Annotated[str, typer.Option("--field-manager", help="Who sets the fields.")] = FIELD_MANAGER,
    output: Annotated[str | None, typer.Option("--output", "-o", help="name, yaml or json.")] = None,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Creates or changes objects so that they are as files say.

    Example: swarmkeep apply -f policy.yaml --dry-run=server
    """
    from swarmkeep.cli.printing import Format, as_list, render_objects, without_managed_fields
    from swarmkeep.cli.targets import read_targets

    form = Format.parse(output)
    is_dry = dry_run is DryRun.SERVER

    async def work(session: Session) -> int:
        from swarmkeep.cli.failures import explain_document_failure
        from swarmkeep.errors import SwarmKeepError, Unavailable

        targets = read_targets(session, filename, recursive=recursive)
        code = 0
        applied: list[dict[str, Any]] = []
        titles: list[str] = []
        for target in targets:
            try:
                outcome, obj = await _apply_one(session, target, is_dry, force_conflicts, field_manager)
            except Unavailable:
                raise
            except SwarmKeepError as error:
                # The other objects may be fine: kubectl goes on, too.
                print(explain_document_failure(error, target.document), file=sys.stderr)
                code = max(code, error.exit_code)
                continue
            applied.append(without_managed_fields(obj))
            titles.append(target.title)
            if form.is_table:
                print(f"{target.title} {outcome}" + (" (server dry run)" if is_dry else ""))
        if applied and not form.is_table:
            sys.stdout.write(render_objects(applied[0] if len(applied) == 1 else as_list(applied), form, titles))
        return code

    run(Options(namespace, context, kubeconfig, request_timeout), work)


async def _apply_one(
    session: Session, target: Target, is_dry: bool, force: bool, field_manager: str
) -> tuple[str, dict[str, Any]]:
    """`created`, `configured` or `unchanged`, and the object as it is now."""
    from swarmkeep.kube.answers import ApiNotFound

    kind = target.resource.kind
    before: dict[str, Any] | None
    try:
        before = await session.client.get(kind, target.name, target.namespace)
    except ApiNotFound:
        before = None
    after = await session.client.apply(
        kind,
        target.document.body,
        target.namespace,
        field_manager=field_manager,
        force=force,
        dry_run=is_dry,
        strict=True,
    )
    outcome = "created" if before is None else "unchanged" if _content(before) == _content(after) else "configured"
    return outcome, after


def _content(obj: dict[str, Any]) -> dict[str, Any]:
    """What a user can change, without the book-keeping of each write."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in ("managedFields", "resourceVersion", "generation")
    }
    # The status is others' work, which may go on between the two reads.
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")} | {"metadata": metadata}
