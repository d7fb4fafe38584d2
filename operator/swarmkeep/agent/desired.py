"""What is wanted of this node: the policies and locations, remembered on disk for when the API is away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.runtime.facts import ContainerFacts
from swarmkeep.agent.selectors_file import SelectorsFile
from swarmkeep.errors import InvalidObject, StorageFull
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import LOCATION, POLICY
from swarmkeep.model.policy import Policy, parse_policy
from swarmkeep.model.wire import Object
from swarmkeep.plan.protection import Protection, find_protection

log = structlog.get_logger(__name__)


class Desired:
    """The policies and StorageLocations as last heard.

    A node that boots without the API goes by what it last knew: better a policy that is a minute old than none.
    """

    def __init__(self, client: Client, journal: Journal, locations: Locations, selectors: SelectorsFile) -> None:
        self._journal = journal
        self._locations = locations
        self._selectors = selectors
        self.policies: dict[Ref, Policy] = {}
        self.known = asyncio.Event()
        """Set once the policies are known, from the API or from the journal."""
        self.changed = asyncio.Event()
        """Set whenever a policy changes."""
        self._policy_mirror = Mirror(client, POLICY, on_change=self._policy_changed)
        self._location_mirror = Mirror(client, LOCATION, on_change=self._location_changed)
        for key, record in journal.items():
            if key == "policies":
                self._take_policies(record["objects"])
                self.known.set()
            elif key == "locations":
                self._locations.update({obj["metadata"]["name"]: obj for obj in record["objects"]})

    async def run(self) -> None:
        """Follows the API for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._policy_mirror.run())
            group.create_task(self._location_mirror.run())
            group.create_task(self._note_synced())

    def protection(self, facts: ContainerFacts) -> Protection | None:
        """The protection of a container."""
        return find_protection(facts.name, facts.labels, self.policies.values())

    @property
    def locations(self) -> Mapping[Ref, Object]:
        """The StorageLocation objects as the API last showed them."""
        return self._location_mirror.objects

    def policy(self, ref: Ref) -> Policy | None:
        """A policy by name."""
        return self.policies.get(ref)

    async def _note_synced(self) -> None:
        await self._policy_mirror.wait_synced()
        self._policies_arrived()
        await self._location_mirror.wait_synced()
        self._locations_arrived()

    def _policy_changed(self, *_: object) -> None:
        if self._policy_mirror.synced:
            self._policies_arrived()

    def _location_changed(self, *_: object) -> None:
        if self._location_mirror.synced:
            self._locations_arrived()

    def _policies_arrived(self) -> None:
        objects = list(self._policy_mirror.objects.values())
        self._journal.write("policies", {"objects": objects})
        self._take_policies(objects)
        self.known.set()
        self.changed.set()

    def _locations_arrived(self) -> None:
        objects = list(self._location_mirror.objects.values())
        self._journal.write("locations", {"objects": objects})
        self._locations.update({obj["metadata"]["name"]: obj for obj in objects})

    def _take_policies(self, objects: list[Any]) -> None:
        policies = {}
        for obj in objects:
            try:
                policy = parse_policy(obj)
            except InvalidObject as error:
                # The operator says so in the policy's Ready condition; it protects nothing until it is corrected.
                log.error("a policy cannot be carried out", error=str(error))
                continue
            policies[policy.ref] = policy
        self.policies = policies
        try:
            self._selectors.publish(policies.values())
        except (StorageFull, OSError) as error:
            log.error("the shim cannot be told about the policies", error=str(error))
