"""`swarmkeep explain-placement`: for each node whether it could go on with a workload, and why not.

The judgement is in plan/container_placement.py, which the operator uses as well; what it judges was reported by the
agents.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarmkeep.cli.completing import workloads
from swarmkeep.cli.options import ContextName, Kubeconfig, Namespace, Options, RequestTimeout
from swarmkeep.cli.session import Session, run

if TYPE_CHECKING:
    from swarmkeep.kube.client import Client
    from swarmkeep.model.policy import Policy
    from swarmkeep.model.workload import Workload
    from swarmkeep.plan.container_placement import NodeVerdict, Placement
    from swarmkeep.plan.host_fit import Needs

NOWHERE = 1
"""Exit code when no node could go on with it."""


class Output(StrEnum):
    """Forms other than the table."""

    JSON = "json"
    YAML = "yaml"


def explain_placement(
    workload: Annotated[
        str, typer.Argument(metavar="WORKLOAD", help="The workload, as web or redis.1.", autocompletion=workloads)
    ],
    output: Annotated[Output | None, typer.Option("--output", "-o", help="The same facts for programs.")] = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Only the rows of the table.")] = False,
    namespace: Namespace = None,
    context: ContextName = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: RequestTimeout = "10s",
) -> None:
    """Says for each node whether it could go on with a workload, and why not.

    Of a plain container: the node that it would go to now if the one that runs it were lost, by the policy's placement.
    Of a service's task: the nodes on which it could be restored; Swarm chooses among them. Judged is by what the agents
    have reported within the last minute. Ends with 1 when no node could.

    Examples: swarmkeep explain-placement web | swarmkeep explain-placement redis.1 -o json
    """

    async def work(session: Session) -> int:
        found = await explain(session.client, session.namespace, workload.rpartition("/")[2])
        if output is not None:
            from swarmkeep.cli.printing import to_json, to_yaml

            sys.stdout.write(to_json(found.facts()) if output is Output.JSON else to_yaml(found.facts()))
        else:
            from swarmkeep.cli.printing import Columns

            if not no_headers:
                print(found.headline())
            Columns(["NODE", "VERDICT", "SCORE", "READY", "WHY"], not no_headers).print(list(found.rows()))
        return 0 if found.placement.possible else NOWHERE

    run(Options(namespace, context, kubeconfig, request_timeout), work)


@dataclass(frozen=True, slots=True)
class Explained:
    """A workload with the verdict on every node."""

    workload: Workload
    needs: Needs
    placement: Placement

    def headline(self) -> str:
        """One sentence or two."""
        needs, chosen, possible = self.needs, self.placement.chosen, self.placement.possible
        kind = "a plain container" if needs.plain else f"a task of service {self.workload.service_name}"
        version = f"version {needs.version.number}" if needs.version else "no good version"
        where = f"{needs.leaves} has it" if needs.leaves else "no node has it"
        if not possible:
            then = "no node could go on with it."
        elif needs.plain:
            then = f"without that node it would go on on {chosen}." if needs.leaves else f"it would go on on {chosen}."
        else:
            then = f"it could be restored on {', '.join(possible)}: Swarm chooses."
        return f"{self.workload.ref.name}: {kind}, {version}; {where}. {then[0].upper()}{then[1:]}"

    def rows(self) -> Iterator[list[str]]:
        """A row for each node, and one more for each further reason."""
        from swarmkeep.cli.printing import cell_text

        for one in self.placement.verdicts:
            first = [
                one.node,
                str(one.verdict),
                "" if one.score is None else str(one.score),
                "" if one.ready_version is None else str(one.ready_version),
            ]
            # Messages come from nodes and programs: nothing in them may steer the terminal.
            told = [cell_text(_sentence(finding.message, finding.advice)) for finding in one.findings]
            for number, why in enumerate(told or [""]):
                yield [*(first if number == 0 else [""] * len(first)), why]

    def facts(self) -> dict[str, Any]:
        """For programs."""
        needs = self.needs
        return {
            "namespace": self.workload.ref.namespace,
            "workload": self.workload.ref.name,
            "kind": "Container" if needs.plain else "Task",
            "node": needs.leaves or None,
            "version": needs.version.number if needs.version else None,
            "chosen": self.placement.chosen,
            "nodes": [_facts(one) for one in self.placement.verdicts],
        }


async def explain(client: Client, namespace: str, name: str) -> Explained:
    """Asks the API for all that the judgement needs. Raises NotFound."""
    from swarmkeep.model.checkpoint import parse_checkpoint
    from swarmkeep.model.kinds import CHECKPOINT, NODE, WORKLOAD
    from swarmkeep.model.node import parse_node, parse_placement_failures
    from swarmkeep.model.policy import PlacementRules
    from swarmkeep.model.traits import parse_traits
    from swarmkeep.model.wire import section
    from swarmkeep.model.workload import parse_workload
    from swarmkeep.plan.container_placement import place
    from swarmkeep.plan.needs import needs_of

    obj = await client.get(WORKLOAD, name, namespace)
    workload = parse_workload(obj)
    policy = await _policy(client, namespace, workload.policy)
    checkpoints = (await client.list(CHECKPOINT, namespace, fields=f"spec.workload={name}")).items
    listed = (await client.list(NODE)).items
    nodes = list(map(parse_node, listed))
    failed = {
        node["metadata"]["name"]: failure
        for node in listed
        for failure in parse_placement_failures(node)
        if failure.workload == workload.ref
    }
    needs = needs_of(
        workload,
        str(obj["metadata"].get("uid", "")),
        parse_traits(obj),
        policy,
        list(map(parse_checkpoint, checkpoints)),
        nodes,
        constraints=section(obj, "status", "swarm").get("constraints") or (),
        bound_to=section(obj, "spec").get("nodeID") or "",
        failed=failed,
    )
    return Explained(workload, needs, place(needs, nodes, policy.placement if policy else PlacementRules()))


async def _policy(client: Client, namespace: str, name: str) -> Policy | None:
    """None when it is gone or cannot be carried out."""
    from swarmkeep.errors import InvalidObject, NotFound
    from swarmkeep.model.kinds import POLICY
    from swarmkeep.model.policy import parse_policy

    try:
        return parse_policy(await client.get(POLICY, name, namespace))
    except (NotFound, InvalidObject):
        return None


def _facts(one: NodeVerdict) -> dict[str, Any]:
    findings = [
        {
            "code": finding.code,
            "severity": str(finding.severity),
            "message": finding.message,
            "advice": finding.advice,
        }
        for finding in one.findings
    ]
    return {
        "node": one.node,
        "verdict": str(one.verdict),
        "score": one.score,
        "readyVersion": one.ready_version,
        "findings": findings,
    }


def _sentence(message: str, advice: str) -> str:
    return f"{message} -> {advice}" if advice else message
