"""Objects from files, matched with kinds and namespaces: what apply, diff and delete -f work on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarmkeep.cli.documents import Document, read_documents
from swarmkeep.cli.resources import Resource
from swarmkeep.cli.session import Session
from swarmkeep.errors import InvalidObject, SwarmKeepError

_FIRST = ("Namespace", "CustomResourceDefinition")
"""Kinds that others need to be there."""


@dataclass(frozen=True, slots=True)
class Target:
    """An object out of a file, and where it belongs."""

    document: Document
    resource: Resource
    namespace: str | None

    @property
    def name(self) -> str:
        return str(self.document.body["metadata"]["name"])

    @property
    def title(self) -> str:
        """`checkpointpolicy.swarmkeep.dev/redis`."""
        return f"{self.resource.title}/{self.name}"


def read_targets(session: Session, files: Sequence[str] | None, *, recursive: bool) -> list[Target]:
    """All objects in the files, namespaces first. Raises InvalidObject, with file and line, before anything is done."""
    if not files:
        raise InvalidObject("you must say what with -f: a file, a folder, or - for standard input")
    documents = read_documents(files, recursive=recursive)
    targets = [_target(session, document) for document in documents]
    _refuse_twins(targets)
    return sorted(targets, key=lambda target: target.document.body["kind"] not in _FIRST)


def _target(session: Session, document: Document) -> Target:
    try:
        resource = session.catalogue.of_object(document.body)
    except SwarmKeepError as error:
        raise InvalidObject(f"{document.place}: {error}") from None
    if not resource.kind.namespaced:
        return Target(document, resource, None)
    written = document.body["metadata"].get("namespace")
    if written and session.namespace_given and written != session.namespace:
        line = document.line_of("metadata.namespace")
        raise InvalidObject(
            f"{document.origin}, line {line}: namespace {written!r} is not the {session.namespace!r} of -n"
        )
    return Target(document, resource, written or session.namespace)


def _refuse_twins(targets: Iterable[Target]) -> None:
    """The same object twice: the second would silently undo the first."""
    seen: dict[tuple[str, str | None], Target] = {}
    for target in targets:
        key = (target.title, target.namespace)
        if key in seen:
            first = seen[key].document.place
            raise InvalidObject(f"{target.document.place}: {target.title} stands a second time here, first in {first}")
        seen[key] = target
