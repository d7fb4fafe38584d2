"""From a container as Docker shows it to the specification that its process image depends on."""

from __future__ import annotations

from swarmkeep.agent.runtime.containers import ContainerFacts
from swarmkeep.plan.specification import Specification, spec_hash


def container_spec_hash(facts: ContainerFacts, force_update: int) -> str:
    """The spec hash of a container whose service has that ForceUpdate counter."""
    return spec_hash(
        Specification(
            image_id=facts.image_id,
            entrypoint=tuple(facts.entrypoint),
            command=tuple(facts.command),
            environment=tuple(facts.env),
            working_dir=facts.working_dir,
            user=facts.user,
            mounts=tuple(facts.mounts),
            cap_add=tuple(facts.cap_add),
            cap_drop=tuple(facts.cap_drop),
            tty=facts.tty,
            force_update=force_update,
            settled=facts.settled,
        )
    )
