"""Brings up the plain containers that the operator has sent to this node: creates each out of its newest version.

The rest is a start like any other: the runtime asks, the claim is taken, the version restored. So nothing here decides
who may run it, and all of it may be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from datetime import UTC, datetime
from typing import Any

import structlog

from swarmkeep.agent.catalogue import Catalogue
from swarmkeep.agent.claims import Claims
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.postmortem import Postmortem
from swarmkeep.agent.reading import SILENCE_FIRST, read_from_first
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.runtime.creation import Creation, read_creation
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import TrackedContainers
from swarmkeep.errors import HostError, NotFound, SwarmKeepError
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.model.wire import section
from swarmkeep.model.workload import Workload, parse_workload
from swarmkeep.plan.volumes import is_covered
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

LOOK_S = 15.0
FAILURE_KEPT_S = 300.0
"""How long a failure is told: until then the operator tries other nodes, and this one does not try again."""
MANIFEST_LIMIT_S = 30.0
START_LIMIT_S = 900.0
"""The longest that a start may take: it waits for the right to run, reads a version and restores it."""
TELL_LIMIT_S = 10.0
FOLDERS_LIMIT_S = 5.0
"""The longest that the node's file systems may take to say whether a folder is there."""


class PlacementFailed(HostError):
    """A plain container cannot be brought up on this node."""

    reason = "PlacementFailed"


class Placements:
    """Of one node."""

    def __init__(
        self,
        node: str,
        client: Client,
        claims: Claims,
        containers: Containers,
        desired: Desired,
        locations: Locations,
        catalogue: Catalogue,
        story: Story,
        tracked: TrackedContainers,
        postmortem: Postmortem,
    ) -> None:
        self._node = node
        self._claims = claims
        self._containers = containers
        self._desired = desired
        self._locations = locations
        self._catalogue = catalogue
        self._story = story
        self._tracked = tracked
        self._postmortem = postmortem
        self._wake = asyncio.Event()
        self._under_way: dict[Ref, asyncio.Task[None]] = {}
        self._failures: dict[Ref, tuple[int, str, float]] = {}
        """Epoch of the claim, what went wrong, and when that is not told any more."""
        self._sent = Mirror(
            client, WORKLOAD, fields=f"status.placement.node={node}", on_change=lambda *_: self._wake.set()
        )

    async def run(self) -> None:
        """Works for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sent.run())
            await self._desired.known.wait()
            while True:
                for obj in list(self._sent.objects.values()):
                    self._begin(parse_workload(obj), group)
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._wake.wait()

    def report(self) -> list[dict[str, Any]]:
        """`status.placements` of the Node."""
        self._forget_old_failures()
        return [
            {"workload": str(ref), "epoch": epoch, "message": message}
            for ref, (epoch, message, _) in sorted(self._failures.items())
        ]

    def _forget_old_failures(self) -> None:
        now = time.monotonic()
        self._failures = {ref: failure for ref, failure in self._failures.items() if failure[2] > now}

    def _begin(self, workload: Workload, group: asyncio.TaskGroup) -> None:
        """Starts it once for each placement that nobody has carried out."""
        placement, ref = workload.placement, workload.ref
        if placement is None or placement.node != self._node or placement.epoch != workload.claim.epoch:
            return
        self._forget_old_failures()
        failed_at = self._failures.get(ref, (-1, "", 0.0))[0]
        if ref in self._under_way or failed_at == placement.epoch or workload.claim.node == self._node:
            return
        task = group.create_task(self._carry_out(workload))
        self._under_way[ref] = task
        task.add_done_callback(lambda _: self._done(ref))

    def _done(self, ref: Ref) -> None:
        self._under_way.pop(ref, None)
        self._wake.set()

    async def _carry_out(self, workload: Workload) -> None:
        """Never raises: what goes wrong is told by the Node, under the epoch that its try has raised the claim to."""
        ref, epoch = workload.ref, workload.claim.epoch
        try:
            await self._bring_up(workload)
        except (SwarmKeepError, OSError) as error:
            log.error("cannot bring up a container that was sent here", workload=str(ref), error=str(error))
            try:
                async with asyncio.timeout(TELL_LIMIT_S):
                    epoch = self._epoch_of_failure(workload, await self._claims.read(ref))
            except (SwarmKeepError, TimeoutError) as trouble:
                log.warning("cannot read a workload", workload=str(ref), error=str(trouble))
            self._failures[ref] = (epoch, str(error)[:1000], time.monotonic() + FAILURE_KEPT_S)
            self._story.not_created(ref, error)
        else:
            self._failures.pop(ref, None)

    def _epoch_of_failure(self, sent: Workload, now: Workload) -> int:
        """That of the claim, which was raised if it was taken for the try."""
        given = now.placement is not None and now.placement.node == self._node
        if given and now.claim.node in ("", self._node):
            return now.claim.epoch
        # Somebody else was given it or has it: under that claim this node has not failed.
        return sent.claim.epoch

    async def _bring_up(self, workload: Workload) -> None:
        # Also that Events know which object they are about.
        workload = await self._claims.read(workload.ref)
        if workload.is_placed_elsewhere(self._node):
            return
        creation, version = await self._read(workload)
        if creation.name != workload.container_name:
            raise PlacementFailed(f"its newest version is of a container {creation.name}")
        await self._require_folders(workload, creation)
        creation = await self._with_image(creation)
        await self._clear_name(workload.ref, creation.name)
        container_id = await self._containers.create_like(creation)
        self._tracked.starting.add(container_id)
        try:
            self._story.created(workload.ref, creation.name, version)
            await self._containers.start(container_id, START_LIMIT_S)
        except BaseException:
            # With a restart policy it would be tried again at the next boot, when it is somebody else's.
            await asyncio.shield(self._remove(container_id))
            raise
        finally:
            self._tracked.starting.discard(container_id)

    async def _read(self, workload: Workload) -> tuple[Creation, int]:
        """The order to create it, from the newest version that is good."""
        policy = self._desired.policy(Ref(workload.ref.namespace, workload.policy))
        if policy is None:
            raise PlacementFailed(f"there is no policy {workload.policy} that can be carried out")
        newest = workload.newest.number if workload.newest else 0
        found = await self._catalogue.look(policy.locations, workload.ref, "", newest)
        number = next((item.number for item in found.candidates if item.usable), None)
        if number is None:
            raise PlacementFailed("there is no good version of it")

        def read(repository: Repository) -> Manifest:
            return repository.manifest(str(workload.ref), number)

        manifest = await read_from_first(
            self._locations, policy.locations, workload.ref, number, read, MANIFEST_LIMIT_S, SILENCE_FIRST
        )
        return read_creation(section(manifest.facts, "container")), number

    async def _require_folders(self, workload: Workload, creation: Creation) -> None:
        """Docker would make an empty folder of each bind mount that is missing here. Raises PlacementFailed."""
        policy = self._desired.policy(Ref(workload.ref.namespace, workload.policy))
        wishes = policy.volumes if policy is not None else ()
        needed = [mount.source for mount in creation.binds if not is_covered(mount, wishes)]
        try:
            # A file system that has lost its server may never answer.
            async with asyncio.timeout(FOLDERS_LIMIT_S):
                missing = await asyncio.to_thread(lambda: [path for path in needed if not os.path.lexists(path)])
        except TimeoutError:
            raise PlacementFailed(f"the node does not say whether it has {', '.join(needed)}") from None
        if missing:
            raise PlacementFailed(
                f"the node does not have {', '.join(missing)}, which is mounted into it: make it there with the same "
                "content, or have it taken along (checkpoint.volumes)"
            )

    async def _with_image(self, creation: Creation) -> Creation:
        """The very image, under the user's name for it where that still means it. Raises PlacementFailed."""
        for reference in (creation.image, creation.image_id):
            if await self._containers.image_id(reference) == creation.image_id:
                return creation.with_image(reference)
        try:
            await self._containers.ensure_image(creation.image)
        except NotFound as error:
            raise PlacementFailed(f"the node does not have the image {creation.image}: {error}") from error
        if await self._containers.image_id(creation.image) == creation.image_id:
            return creation
        raise PlacementFailed(
            f"{creation.image} is another image by now than the one that it ran; name it with its digest (@sha256:...)"
        )

    async def _clear_name(self, workload: Ref, name: str) -> None:
        """Removes a container of that name which ran as this very workload before, or was made for it in vain."""
        for item in await self._containers.list_all():
            if item.name != name:
                continue
            facts = await self._containers.inspect(item.id)
            protection = self._desired.protection(facts)
            if facts.running or protection is None or protection.workload != workload:
                raise PlacementFailed(f"the node has another container {name}: rename or remove it")
            await self._containers.remove(item.id)

    async def _remove(self, container_id: str) -> None:
        """Removes a container that Docker did not start, whatever the runtime has made of it."""
        try:
            await self._containers.remove(container_id, volumes=True)
        except SwarmKeepError as error:
            # It may run: what it is, and was, shows when Docker answers.
            log.error("cannot remove a container that did not start", container=container_id, error=str(error))
            return
        tracked = self._tracked.by_container(container_id)
        if tracked is not None and tracked.end is None:
            self._postmortem.never_came_up(tracked, datetime.now(UTC))
