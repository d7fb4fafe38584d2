"""`swarmkeep doctor`: what would not survive, on which node or of which workload, and what to do.

The judgement is in plan/node_doctor.py and plan/workload_doctor.py; what they judge was reported by the agents.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.completing import examinable
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.model.policy import Policy
    from swarmkeep.plan.findings import Finding
    from swarmkeep.plan.node_doctor import SeenLease
    from swarmkeep.plan.workload_doctor import WorkloadFacts

BAD = 1
"""Exit code when there are problems or warnings."""


class Output(StrEnum):
    """Forms other than text."""

    JSON = "json"
    YAML = "yaml"


def doctor(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME | node/NAME | wl/NAME]...",
            help="Nodes and workloads; by default all nodes, and all workloads of the namespace.",
            autocompletion=examinable,
        ),
    ] = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Workloads of all namespaces.")] = False,
    try_it: Annotated[
        bool,
        typer.Option("--try", help="Dump the named workloads and restore the dumps in isolation; they run on."),
    ] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="The longest that --try may take.")] = "5m",
    notes: Annotated[bool, typer.Option("--notes/--no-notes", help="What is only good to know, too.")] = True,
    output: Annotated[Output | None, typer.Option("--output", "-o", help="The same findings for programs.")] = None,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Says what would not survive the loss of a node, and what to do about it.

    It looks at nodes (kernel, CRIU, runc, runtime, cgroups, clock, room, storage, differences between them) and at
    workloads (terminals, mounts, devices, namespaces, images, connections, protection), as their agents have reported
    them within the last minute. With --try it does not only look: each named workload is dumped (it stands still for as
    long as for a version), and the dump is restored on its node without network, in a cgroup and with files of its own,
    and thrown away. Ends with 0 when all is well, with 1 when there are problems or warnings.

    Example: swarmkeep doctor redis.1 --try
    """
    from swarmkeep.model.quantity import parse_duration

    limit_s = parse_duration(timeout).total_seconds()

    async def work(session: Session) -> int:
        from swarmkeep.errors import InvalidObject
        from swarmkeep.plan.findings import is_bad

        if what and everywhere:
            raise InvalidObject("names cannot be combined with -A")
        if try_it and not what:
            raise InvalidObject("try what? name workloads: each is dumped for it and stands still for a moment")
        examined = await _Practice(session, None if everywhere else session.namespace).examine(what or [])
        if try_it:
            examined = await _tried(session, examined, limit_s)
        if output is not None:
            from swarmkeep.cli.printing import to_json, to_yaml

            facts = {"examined": [one.facts(notes=notes) for one in examined]}
            sys.stdout.write(to_json(facts) if output is Output.JSON else to_yaml(facts))
        else:
            _show(examined, notes=notes)
        return BAD if any(is_bad(one.findings) for one in examined) else 0

    run(Options(namespace, context, kubeconfig, request_timeout), work)


@dataclass(frozen=True, slots=True)
class Examined:
    """A node or a workload with what was found."""

    kind: str
    """`node` or `workload`."""
    namespace: str
    name: str
    findings: tuple[Finding, ...]

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def facts(self, *, notes: bool) -> dict[str, Any]:
        """For programs."""
        told = [
            {
                "code": finding.code,
                "severity": str(finding.severity),
                "message": finding.message,
                "advice": finding.advice,
            }
            for finding in _told(self.findings, notes=notes)
        ]
        where = {"namespace": self.namespace} if self.namespace else {}
        return {"kind": self.kind, "name": self.name, "findings": told, **where}


class _Practice:
    """Asks the API for all that the judgements need."""

    def __init__(self, session: Session, namespace: str | None) -> None:
        self._session = session
        self._client = session.client
        self._namespace = namespace

    async def examine(self, words: Sequence[str]) -> list[Examined]:
        """What is meant by `words`, examined; everything when there are none. Raises NotFound, InvalidObject."""
        from swarmkeep.cli.server_time import server_time
        from swarmkeep.model.kinds import NODE, WORKLOAD
        from swarmkeep.model.node import parse_node
        from swarmkeep.plan.node_doctor import examine_node
        from swarmkeep.plan.workload_doctor import examine_workload

        nodes = sorted(map(parse_node, (await self._client.list(NODE)).items), key=lambda node: node.name)
        listed = (await self._client.list(WORKLOAD, self._namespace)).items
        workloads = {(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in listed}
        chosen = self._choose(words, [node.name for node in nodes], workloads)
        leases, policies, now = await self._leases(), await self._policies(), await server_time(self._client)
        examined = []
        for node in nodes:
            if (NODE.name, "", node.name) in chosen:
                others = [other for other in nodes if other is not node]
                examined.append(Examined("node", "", node.name, examine_node(node, others, leases.get(node.name), now)))
        for (namespace, name), obj in sorted(workloads.items()):
            if (WORKLOAD.name, namespace, name) in chosen:
                found = examine_workload(workload_facts(obj, policies), nodes)
                examined.append(Examined("workload", namespace, name, found))
        return examined

    def _choose(
        self, words: Sequence[str], nodes: Sequence[str], workloads: Iterable[tuple[str, str]]
    ) -> set[tuple[str, str, str]]:
        """Kind, namespace and name of each object that is meant."""
        from swarmkeep.errors import InvalidObject, NotFound
        from swarmkeep.model.kinds import NODE, WORKLOAD

        everything = {(NODE.name, "", name) for name in nodes} | {(WORKLOAD.name, *key) for key in workloads}
        if not words:
            return everything
        chosen: set[tuple[str, str, str]] = set()
        for word in words:
            kind_word, slash, name = word.rpartition("/")
            wanted = self._session.catalogue.named(kind_word).kind.name if slash else ""
            if wanted not in ("", NODE.name, WORKLOAD.name) or not name:
                raise InvalidObject(f"{word!r}: only nodes and workloads can be examined: node/NAME or wl/NAME")
            meant = {one for one in everything if one[2] == name and wanted in ("", one[0])}
            if not meant:
                raise NotFound(f'there is no {wanted or "Node or Workload"} "{name}"')
            chosen |= meant
        return chosen

    async def _leases(self) -> dict[str, SeenLease]:
        from datetime import timedelta

        from swarmkeep.model.kinds import LEASE, NODE_LEASE_NAMESPACE
        from swarmkeep.model.wire import optional_time, section
        from swarmkeep.plan.node_doctor import SeenLease

        found = {}
        for obj in (await self._client.list(LEASE, NODE_LEASE_NAMESPACE)).items:
            spec = section(obj, "spec")
            renewed_at = optional_time(spec.get("renewTime"))
            if renewed_at is not None:
                duration = timedelta(seconds=spec.get("leaseDurationSeconds") or 0)
                found[obj["metadata"]["name"]] = SeenLease(renewed_at, duration)
        return found

    async def _policies(self) -> dict[tuple[str, str], Policy]:
        """Those that can be carried out."""
        from swarmkeep.errors import InvalidObject
        from swarmkeep.model.kinds import POLICY
        from swarmkeep.model.policy import parse_policy

        found = {}
        for obj in (await self._client.list(POLICY, self._namespace)).items:
            try:
                policy = parse_policy(obj)
            except InvalidObject:
                continue
            found[policy.ref.namespace, policy.ref.name] = policy
        return found


async def _tried(session: Session, examined: Sequence[Examined], limit_s: float) -> list[Examined]:
    """With what a real dump and a real restore of each workload say."""
    from swarmkeep.cli.trial import try_workload

    tried = []
    for one in examined:
        if one.kind == "workload":
            found = await try_workload(session.client, one.namespace, one.name, limit_s)
            one = replace(one, findings=(found, *one.findings))
        tried.append(one)
    return tried


def workload_facts(obj: dict[str, Any], policies: dict[tuple[str, str], Policy]) -> WorkloadFacts:
    """What is judged of a Workload object."""
    from swarmkeep.model.conditions import find_condition
    from swarmkeep.model.traits import parse_traits
    from swarmkeep.model.wire import section
    from swarmkeep.plan.workload_doctor import WorkloadFacts

    meta, status = obj["metadata"], section(obj, "status")
    protected = find_condition(status.get("conditions") or (), "Protected") or {}
    said = protected.get("message") or "nobody has said yet whether it is protected"
    return WorkloadFacts(
        node=section(status, "claim").get("node") or "",
        traits=parse_traits(obj),
        policy=policies.get((meta["namespace"], section(obj, "spec")["policy"])),
        unprotected="" if protected.get("status") == "True" else said,
        failure=section(status, "lastFailure").get("message", ""),
    )


def _told(findings: Iterable[Finding], *, notes: bool) -> list[Finding]:
    from swarmkeep.plan.findings import Severity

    return [finding for finding in findings if notes or finding.severity is not Severity.NOTE]


def _show(examined: Sequence[Examined], *, notes: bool) -> None:
    from swarmkeep.plan.findings import Severity

    coloured = _colours()
    for one in examined:
        told = _told(one.findings, notes=notes)
        print(f"{one.title}:" + ("" if told else f" {coloured('Fine', 'fine')}"))
        for finding in told:
            # Messages come from nodes and programs: nothing in them may steer the terminal.
            text, advice = (_printable(part) for part in (finding.message, finding.advice))
            print(f"  {coloured(finding.severity, finding.severity.lower())} {finding.code}: {text}")
            if advice:
                print(f"    -> {advice}")
    counts = {
        severity: sum(finding.severity is severity for one in examined for finding in one.findings)
        for severity in Severity
    }
    told_counts = ", ".join(
        f"{count} {severity.lower()}{'' if count == 1 else 's'}" for severity, count in counts.items()
    )
    print(f"{len(examined)} examined: {told_counts}", file=sys.stderr)


def _colours() -> Any:
    from swarmkeep.cli.printing import uses_colour

    codes = {"Problem": "31", "Warning": "33", "Fine": "32"} if uses_colour(sys.stdout) else {}
    return lambda key, text: f"\033[{codes[key]}m{text}\033[0m" if key in codes else text


def _printable(text: str) -> str:
    from swarmkeep.cli.printing import cell_text

    return cell_text(text)
