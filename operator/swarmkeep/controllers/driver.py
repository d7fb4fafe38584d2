"""The one cycle, for all kinds: cut out a view, plan, carry out, come back when the plan says so.

Called by the daemon, which runs a few workers over the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

import structlog

from swarmkeep.controllers.execute import Executor
from swarmkeep.controllers.moves import migration_view
from swarmkeep.controllers.queue import Key, KeyedQueue
from swarmkeep.controllers.rollbacks import restore_view
from swarmkeep.controllers.world import NotYet, World
from swarmkeep.errors import Conflict, NotFound, SwarmKeepError
from swarmkeep.kube.answers import FencedOff
from swarmkeep.kube.client import Client
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import (
    CHECKPOINT,
    LEASE,
    LOCATION,
    MIGRATION,
    NODE,
    NODE_LEASE_NAMESPACE,
    POLICY,
    RESTORE,
    WORKLOAD,
    Kind,
)
from swarmkeep.obs import operator_metrics as metrics
from swarmkeep.plan.actions import Plan
from swarmkeep.plan.assignments import plan_checkpoint
from swarmkeep.plan.location_status import plan_location
from swarmkeep.plan.migration import plan_migration
from swarmkeep.plan.nodes import plan_node
from swarmkeep.plan.policy_status import plan_policy
from swarmkeep.plan.restore_request import plan_restore
from swarmkeep.plan.workload_status import plan_workload

log = structlog.get_logger(__name__)

CYCLE_LIMIT_S = 60.0
"""The longest that one look at one object may take: many writes of a few seconds each at worst."""
REFUSED_PAUSE_S = 10.0
"""Pause after the API has refused a write for good: only a human or an upgrade changes that."""


class Deposed(Exception):
    """The API says that another operator leads: this process must end."""


@dataclass(frozen=True, slots=True)
class Controller:
    """How objects of one kind are dealt with."""

    kind: Kind
    plan: Callable[[Ref, datetime], Plan]


class Driver:
    """Looks at objects, one after the other."""

    def __init__(
        self,
        world: World,
        queue: KeyedQueue,
        executor: Executor,
        client: Client,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._world = world
        self._queue = queue
        self._executor = executor
        self._client = client
        self._now = now
        self._controllers = {
            controller.kind.name: controller
            for controller in (
                Controller(POLICY, lambda ref, at: plan_policy(world.policy_view(ref), at)),
                Controller(WORKLOAD, lambda ref, at: plan_workload(world.workload_view(ref), at)),
                Controller(CHECKPOINT, lambda ref, at: plan_checkpoint(world.checkpoint_view(ref), at)),
                Controller(NODE, lambda ref, at: plan_node(world.node_view(ref), at)),
                Controller(LOCATION, lambda ref, at: plan_location(world.location_view(ref), at)),
                Controller(MIGRATION, lambda ref, at: plan_migration(migration_view(world, ref), at)),
                Controller(RESTORE, lambda ref, at: plan_restore(restore_view(world, ref), at)),
            )
        }

    async def work(self) -> None:
        """One worker, for ever. Raises Deposed."""
        while True:
            await self.step(await self._queue.take())

    async def step(self, key: Key) -> None:
        """One look at one object, with its outcome for the queue. Raises Deposed."""
        begun = perf_counter()
        outcome = "failed"
        try:
            async with asyncio.timeout(CYCLE_LIMIT_S):
                changed, again_after_s = await self._cycle(key)
            outcome = "changed" if changed else "idle"
            self._queue.done(key, again_after_s)
        except FencedOff as error:
            raise Deposed(str(error)) from error
        except NotYet:
            outcome = "idle"
            self._queue.failed(key)
        except (Conflict, NotFound) as error:
            outcome = "conflict"
            pause = self._queue.failed(key)
            log.debug("somebody else was faster", kind=key.kind, object=str(key.ref), error=str(error), again_s=pause)
        except SwarmKeepError as error:
            # What is away comes back; what was refused will be refused again.
            pause = self._queue.failed(key, 0.0 if error.reason == "Unavailable" else REFUSED_PAUSE_S)
            log.warning(
                "could not deal with an object", kind=key.kind, object=str(key.ref), error=str(error), again_s=pause
            )
        except TimeoutError:
            pause = self._queue.failed(key)
            log.error("an object took too long", kind=key.kind, object=str(key.ref), limit_s=CYCLE_LIMIT_S)
        except Exception:
            # A bug in the plan of one object must not stop the others; it is loud, and tried again.
            pause = self._queue.failed(key, REFUSED_PAUSE_S)
            log.exception("a bug: could not deal with an object", kind=key.kind, object=str(key.ref), again_s=pause)
        finally:
            metrics.CYCLES.labels(key.kind, outcome).inc()
            metrics.CYCLE_SECONDS.labels(key.kind).observe(perf_counter() - begun)

    async def _cycle(self, key: Key) -> tuple[bool, float | None]:
        controller = self._controllers[key.kind]
        if self._world.cache.get(controller.kind, key.ref) is None:
            self._queue.forget(key)
            return False, None
        if controller.kind is NODE:
            await self._confirm_silence(key.ref.name)
        now = self._now()
        plan = controller.plan(key.ref, now)
        changed = await self._executor.carry_out(controller.kind, key.ref, plan, now)
        if plan.reason and changed:
            log.info(plan.reason, kind=key.kind, object=str(key.ref))
        if plan.wake_at is None:
            return changed, None
        return changed, (plan.wake_at - self._now()).total_seconds()

    async def _confirm_silence(self, node: str) -> None:
        """A lease that looks dead may only look so because our watch is: the API has the last word."""
        seen = self._world.leases.view(node)
        if seen is None or seen.age < seen.duration:
            return
        try:
            lease = await self._client.get(LEASE, node, NODE_LEASE_NAMESPACE)
        except NotFound:
            self._world.leases.gone(node)
            return
        self._world.leases.saw(node, lease)
