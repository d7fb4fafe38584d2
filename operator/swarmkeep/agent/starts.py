"""A task comes up: who may run it, and is it restored or fresh? Holds the shim's `create` until that is decided."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.bases import Bases
from swarmkeep.agent.catalogue import Catalogue
from swarmkeep.agent.claims import Claims, Taken
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.heartbeat import Heartbeat
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.lease_watch import outcome_within_lease
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.postmortem import Postmortem
from swarmkeep.agent.reading import DAMAGE_FIRST, read_from_first
from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.addresses import kept_addresses
from swarmkeep.agent.runtime.bundle import bundle_rootfs
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.runtime.stored_facts import read_stored_facts
from swarmkeep.agent.shim_server import Conversation
from swarmkeep.agent.specifications import container_spec_hash
from swarmkeep.agent.stale_copies import StaleCopies, is_stale
from swarmkeep.agent.start_state import Start
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import TrackedContainers
from swarmkeep.agent.volume_switch import Owner, Put
from swarmkeep.agent.volumes import Volumes
from swarmkeep.errors import DataError, HostError, NotFound, SwarmKeepError, Unavailable
from swarmkeep.model.line import Line, parse_line
from swarmkeep.model.policy import Fencing
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import End, Order, Phase
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.connections import go_on
from swarmkeep.plan.crashes import pause_left
from swarmkeep.plan.ends import SeenEnd, end_status
from swarmkeep.plan.orders import SeenStart, standing
from swarmkeep.plan.start import Candidate, Fresh, Hold, Restore, decide_start
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

FETCH_LIMIT_S = 600.0
"""The longest that reading a version from storage may take."""
OLDER_AFTER = timedelta(seconds=10)
"""How long a location that does not answer is waited for before an older version from another one is taken."""
POLL_S = 0.2
HOLD_LOOK = timedelta(seconds=1)
"""How often a task that is held is decided about anew."""
POLICIES_LIMIT_S = 30.0


class Refused(SwarmKeepError):
    """The task must not start; the Swarm will try again, here or elsewhere."""

    reason = "Refused"


class Starts:
    """Answers `create`."""

    def __init__(
        self,
        node: str,
        boot_id: str,
        run_dir: Path,
        docker_root: Path,
        cache: ImageCache,
        bases: Bases,
        containers: Containers,
        desired: Desired,
        claims: Claims,
        catalogue: Catalogue,
        damage: KnownDamage,
        locations: Locations,
        tracked: TrackedContainers,
        heartbeat: Heartbeat,
        fence_after: timedelta,
        story: Story,
        volumes: Volumes,
        postmortem: Postmortem,
        stale: StaleCopies,
        *,
        lazy_pages: bool,
    ) -> None:
        self._node = node
        self._heartbeat = heartbeat
        self._fence_after = fence_after
        self._boot_id = boot_id
        self._run_dir = run_dir
        self._docker_root = docker_root
        self._cache = cache
        self._bases = bases
        self._containers = containers
        self._desired = desired
        self._claims = claims
        self._catalogue = catalogue
        self._damage = damage
        self._locations = locations
        self._tracked = tracked
        self._story = story
        self._volumes = volumes
        self._postmortem = postmortem
        self._stale = stale
        self._lazy_pages = lazy_pages
        """Whether this node's kernel and CRIU can bring memory in on demand."""

    async def converse(self, conversation: Conversation) -> str:
        """Holds one conversation; returns `fresh`, `restored` or `refused`."""
        facts = await asyncio.to_thread(read_stored_facts, self._docker_root, conversation.container_id)
        conversation.waiting_for = "the policies"
        try:
            async with asyncio.timeout(POLICIES_LIMIT_S):
                await self._desired.known.wait()
        except TimeoutError:
            raise Refused(
                f"the policies are not known on {self._node}: its agent has never reached the API; see its log"
            ) from None
        protection = self._desired.protection(facts)
        if protection is None:
            await conversation.answer({"do": "fresh"})
            return "unprotected"
        now = datetime.now(UTC)
        start = Start(facts, protection, now, now + protection.policy.restore.hold_limit, conversation)
        if start.ref in self._tracked.coming_up:
            raise Refused(f"another task of {start.ref} is coming up on this node right now")
        self._tracked.coming_up[start.ref] = start.facts.id
        try:
            return await self._bring_up(start)
        except (Refused, Unavailable) as error:
            self._give_up(start)
            self._story.held(start.ref, error)
            raise
        finally:
            del self._tracked.coming_up[start.ref]

    async def _bring_up(self, start: Start) -> str:
        await self._await_old_copy(start)
        self._settle_earlier_run(start)
        prefetch = asyncio.ensure_future(self._prefetch(start))
        try:
            start.taken = await self._claim(start)
            if start.taken is not None:
                lost = start.taken.before.claim.node if start.taken.from_lost_node else None
                self._story.claimed(start.ref, start.taken.claim.epoch, lost)
            failed = self._settle_end(start)
            await prefetch
            while True:
                candidates = await self._candidates(start)
                before = start.taken.before if start.taken else None
                start.standing = standing(before, start.seen, candidates)
                decision = decide_start(
                    start.policy.restore,
                    start.end,
                    start.spec_hash,
                    start.protection.service_id,
                    candidates,
                    failed,
                    datetime.now(UTC),
                    start.standing.line,
                    start.standing.order,
                )
                match decision:
                    case Hold(message=message):
                        await self._hold(start, message)
                    case Fresh():
                        return await self._start_fresh(start, decision, candidates, failed)
                    case Restore(ordered=ordered):
                        if not ordered:
                            await self._await_turn(start)
                        error = await self._try_restore(start, decision, candidates, failed)
                        if error is None:
                            return "restored"
                        failed[decision.version] = failed.get(decision.version, 0) + 1
                        self._remember_failure(start, decision, failed, error, candidates)
                        if start.layer_applied:
                            # Its files are in the container already: only a new container is clean.
                            raise Refused(f"version {decision.version} of {start.ref} could not be restored: {error}")
        finally:
            prefetch.cancel()

    async def _await_old_copy(self, start: Start) -> None:
        """Waits until no older container of the same workload runs on this node."""
        while True:
            old = self._tracked.get(start.ref)
            if old is not None and old.finalizing:
                # Of whichever container, and though Docker may have forgotten it already.
                await self._wait(start, f"the final version of {start.ref} to be stored", POLL_S)
                continue
            if old is None or old.container_id == start.facts.id:
                return
            try:
                facts = await self._containers.cached(old.container_id)
            except NotFound:
                return
            if not facts.running and old.end is not None:
                return
            await self._wait(start, f"the older container {facts.name} of {start.ref} to end", POLL_S)

    def _settle_earlier_run(self, start: Start) -> None:
        """Docker starts a container again: its process has ended since, and perhaps nobody has looked yet."""
        old = self._tracked.get(start.ref)
        if old is None or old.container_id != start.facts.id or old.start is None or old.end is not None:
            return
        if start.facts.has_ended_since(old.started_at):
            self._postmortem.settle(old, start.facts, datetime.now(UTC))
            log.info("a protected container is started again", workload=str(old.ref), end=old.end)

    async def _claim(self, start: Start) -> Taken | None:
        """Takes the right to run the workload; None when there is no Workload object and no version either."""
        seen = self._seen_end(start)
        while True:
            try:
                got = await self._claims.take(start.ref, Phase.RESTORING, seen, container=start.protection.container)
            except NotFound:
                if not (
                    await self._catalogue.look(start.policy.locations, start.ref, start.protection.service_id)
                ).candidates:
                    return None
                await self._wait(start, f"the operator to make the workload {start.ref}", POLL_S)
                continue
            except Unavailable as error:
                await self._wait(start, f"the API: {error}", POLL_S)
                continue
            if isinstance(got, Taken):
                return got
            epoch = self._stale.epoch_of(self._tracked.get(start.ref), start.ref, start.facts.id)
            if got.holder is not None and is_stale(epoch, got.holder, got.placement, self._node):
                raise Refused(f"{got.holder.node} has gone on with {start.ref}: this copy is stale, and is removed")
            await self._wait(start, got.message, min(got.retry_after_s, 1.0))

    async def _hold(self, start: Start, message: str) -> None:
        """Lets a task that must not start wait for better times; refused at once it would be tried again at once."""
        refusal = Refused(f"{start.ref} is held: {message}")
        if start.conversation.waiting_for != message:
            start.conversation.waiting_for = message
            self._story.held(start.ref, refusal)
        if datetime.now(UTC) + HOLD_LOOK > start.deadline:
            raise refusal
        await asyncio.sleep(HOLD_LOOK.total_seconds())
        with contextlib.suppress(NotFound, Unavailable):
            # Somebody may know what is to become of it.
            self._take_order(start, (await self._claims.read(start.ref)).order)

    @staticmethod
    def _take_order(start: Start, order: Order | None) -> None:
        if start.taken is not None and start.taken.before.order != order:
            start.taken = replace(start.taken, before=replace(start.taken.before, order=order))

    async def _await_turn(self, start: Start) -> None:
        """Amid a loop of crashes restores come ever more rarely."""
        while left := pause_left(start.crashes, datetime.now(UTC)):
            count = start.crashes.in_row if start.crashes else 0
            what = f"the pause after {count} restored processes that crashed in a row"
            await self._wait(start, what, min(left.total_seconds(), 1.0))

    async def _await_lease(self, start: Start) -> None:
        """Goes on only while the node's lease is good: a start that took long may have outlived its claim."""
        if start.taken is None:
            return
        while self._heartbeat.age >= self._fence_after:
            await self._wait(start, "the node's lease to be renewed", POLL_S)
        now = await self._claims.read(start.ref)
        if now.claim != start.taken.claim:
            raise Refused(f"{start.ref} was claimed by {now.claim.node or 'nobody'} while its start was prepared here")
        if now.order != start.taken.before.order:
            raise Refused(f"the order for the start of {start.ref} has changed meanwhile; the next one obeys it")

    def _is_lease_lost(self, start: Start) -> bool:
        """Whether another node may take the claim soon, and what comes up here must not run."""
        fenced = start.taken is not None and start.policy.fencing is Fencing.STRICT
        return fenced and self._heartbeat.age >= self._fence_after

    def _settle_end(self, start: Start) -> dict[int, int]:
        """Works out how the task before ended, and returns how often each version failed to restore since."""
        if start.taken is None:
            start.spec_hash = container_spec_hash(start.facts, 0)
            return {}
        before, end = start.taken.before, start.taken.end
        start.end = end.how
        start.end_before = dict(end.status) if end.status else None
        start.spec_hash = container_spec_hash(start.facts, before.force_update)
        old = self._tracked.get(start.ref)
        numbers = [item.number for item in (old, self._tracked.taking.get(start.ref)) if item is not None]
        start.given_out = max(numbers, default=0)
        if old is not None and old.epoch == before.claim.epoch:
            start.crashes = old.crashes
            if old.start is not None:
                start.seen = SeenStart(old.order, parse_line(old.line), old.container_id == start.facts.id)
            return {int(number): count for number, count in old.failed_restores.items()}
        start.crashes = before.crashes
        return dict(before.failed_restores)

    def _seen_end(self, start: Start) -> SeenEnd | None:
        """How the task before ended, as far as this node saw it."""
        old = self._tracked.get(start.ref)
        if old is None:
            return None
        if old.container_id == start.facts.id and not (old.plain and old.end):
            # Of an earlier question about this very container, to an agent that died.
            return SeenEnd(old.epoch, old.end_before) if old.end_before else None
        final = {"finalVersion": old.final_version} if old.final_version is not None else {}
        return SeenEnd(old.epoch, old.end | final) if old.end else None

    async def _candidates(self, start: Start) -> list[Candidate]:
        """The versions; waits for a location that does not answer while only it can have the one that is wanted.

        In place of the newest an older one will do after a while; in place of one that was ordered none will.
        """
        before = start.taken.before if start.taken else None
        newest = before.newest.number if before and before.newest else 0
        ordered = before.order.version if before and before.order else None
        line = start.seen.line if start.seen else before.line if before else Line()
        until = min(start.deadline, datetime.now(UTC) + OLDER_AFTER)

        def enough(number: int) -> bool:
            return number == ordered if ordered else number >= newest and line.has(number)

        while True:
            try:
                service = start.protection.service_id
                found = await self._catalogue.look(start.policy.locations, start.ref, service, newest, enough)
            except Unavailable as error:
                await self._wait(start, str(error), 0.5)
                continue
            have = any(enough(item.number) for item in found.candidates if item.usable)
            if have or not newest + (ordered or 0) or not found.silent:
                return found.candidates
            what = f"version {ordered or newest} of {start.ref} from {found.silent[0]}"
            if ordered:
                await self._wait(start, what, 0.5)
                continue
            if datetime.now(UTC) >= until:
                return found.candidates
            start.conversation.waiting_for = what
            await asyncio.sleep(0.5)

    async def _prefetch(self, start: Start) -> None:
        """Reads the version that will be wanted from storage while the claim is still waited for."""
        before = None
        with contextlib.suppress(NotFound, Unavailable):
            before = await self._claims.read(start.ref)
        try:
            service = start.protection.service_id
            found = await self._catalogue.look(start.policy.locations, start.ref, service)
            now = standing(before, None, found.candidates)
            if now.order is not None:
                wanted = [item for item in found.candidates if item.number == now.order.version]
            else:
                wanted = [item for item in found.candidates if now.line.has(item.number)]
            newest = next((item for item in wanted if item.usable), None)
            if newest is not None:
                with self._cache.using(start.ref, newest.number):
                    await self._fetch(start, newest.number)
        except SwarmKeepError as error:
            # Whatever is wrong shows again, and counts then, when the version is really chosen.
            log.info("could not read ahead", workload=str(start.ref), error=str(error))

    async def _fetch(self, start: Start, version: int) -> Path:
        """The version's folder, from the cache if it is there and whole; else it is read from storage into the cache.

        Raises DataError, HostError, NotFound, Unavailable.
        """
        async with self._cache.filling(start.ref, version):
            cached = await asyncio.to_thread(self._cache.find, start.ref, version)
            if cached is not None:
                return cached
            target = self._cache.path(start.ref, version)
            manifest = await self._get(start, version, target)
            await asyncio.to_thread(self._cache.mark, start.ref, version, manifest.taken_at)
            return target

    async def _get(self, start: Start, version: int, target: Path) -> Manifest:
        def get(repository: Repository) -> Manifest:
            # A restore uses it at once and a reboot throws it away: no need to wait for the disk.
            base = unused.pop() if unused else None
            return repository.get(str(start.ref), version, target, durable=False, base=base)

        names = self._damage.sound(start.ref, version, start.policy.locations)
        skipped: dict[str, SwarmKeepError] = {}
        async with self._bases.before(start.ref, start.policy, version) as unused:
            manifest = await read_from_first(
                self._locations, names, start.ref, version, get, FETCH_LIMIT_S, DAMAGE_FIRST, skipped
            )
        for name, error in skipped.items():
            if isinstance(error, DataError):
                # Another location had it whole, so that speaks for no other version; but somebody has to look there.
                start.wrong_in.setdefault(version, set()).add(name)
                self._story.wrong_bytes(start.ref, version, name, error)
        return manifest

    async def _try_restore(
        self, start: Start, decision: Restore, candidates: list[Candidate], failed: dict[int, int]
    ) -> str | None:
        """Restores a version; returns what went wrong, or None when the process runs."""
        with self._cache.using(start.ref, decision.version):
            error = await self._restore_held(start, decision, candidates, failed)
        if error is not None:
            # Should the folder be the reason, the next try reads it from storage.
            await asyncio.to_thread(self._cache.drop, start.ref, decision.version)
        return error

    async def _restore_held(
        self, start: Start, decision: Restore, candidates: list[Candidate], failed: dict[int, int]
    ) -> str | None:
        start.conversation.waiting_for = f"version {decision.version} of {start.ref} from storage"
        # If this agent dies before it hears how that went, the next one sees the container, and the rest here.
        attempt = start.status(self._node, decision, 0)
        attempt["at"] = format_time(start.asked_at)
        self._save(start, candidates, failed, None, attempt)
        try:
            image = await self._fetch(start, decision.version)
            rootfs = bundle_rootfs(Path(str(start.conversation.question["bundle"])))
            start.layer_applied = any((image / "layer").iterdir())
            await asyncio.to_thread(layer.apply, image / "layer", rootfs)
            puts = await self._prepare_volumes(start, decision.version, image)
        except (DataError, HostError, NotFound, OSError) as error:
            metrics.RESTORES.labels(decision.reason, "failed").inc()
            return str(error)
        work = self._run_dir / "restore" / start.facts.id
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        await self._await_lease(start)
        await self._switch_volumes(start, puts)
        await start.conversation.answer(
            {
                "do": "restore",
                "image": str(image / "image"),
                "work": str(work),
                "lazy": start.policy.restore.lazy and self._lazy_pages,
                **_connections(start, decision.version, candidates, failed),
            }
        )
        outcome, out_of_lease = await outcome_within_lease(
            start.conversation, lambda: self._is_lease_lost(start), partial(self._containers.end_unborn, start.facts.id)
        )
        if outcome.get("outcome") != "restored":
            await self._put_volumes_back(start, puts)
            metrics.RESTORES.labels(decision.reason, "failed").inc()
            if out_of_lease:
                # That speaks for nothing but the network: the version is as good as it was.
                raise Refused(f"the lease of {self._node} ran out while version {decision.version} was restored")
            return str(outcome.get("error", "the runtime did not say why"))
        seconds = (datetime.now(UTC) - start.asked_at).total_seconds()
        metrics.RESTORES.labels(decision.reason, "restored").inc()
        metrics.RESTORE_SECONDS.observe(seconds)
        # The counts stay until a version is stored: it may yet die of what is wrong with this one.
        status = start.status(self._node, decision, seconds)
        self._save(start, candidates, failed, status)
        self._story.restored(start.ref, decision, seconds)
        await start.conversation.answer({"done": True})
        await self._volumes.confirm(puts)
        return None

    async def _prepare_volumes(self, start: Start, version: int, image: Path) -> tuple[Put, ...]:
        """Makes beside its volumes what they had in the version. Raises DataError; Refused if the node is at fault."""
        try:
            captured = await self._volumes.to_put(start.facts, start.policy, image)
            while waiting_for := await self._volumes.in_use(start.facts, [volume for volume, _ in captured]):
                await self._wait(start, waiting_for, POLL_S)
            owner = Owner(start.ref, start.protection.service_id)
            return await self._volumes.prepare(owner, version, captured)
        except HostError as error:
            # It may well come up elsewhere, or here once somebody has seen to it; another version would not.
            raise Refused(f"{start.ref} may not start: {error}") from error

    async def _switch_volumes(self, start: Start, puts: tuple[Put, ...]) -> None:
        """Gives the volumes the content of the version. From here on they have it unless the process fails to come up.

        Who hears nothing of that leaves them: the process may be there, and use them.
        """
        if not puts:
            return
        if waiting_for := await self._volumes.in_use(start.facts, [put.volume for put in puts]):
            raise Refused(f"{start.ref} may not start before it sees {waiting_for}")
        try:
            await self._volumes.switch(puts)
        except HostError as error:
            raise Refused(f"{start.ref} may not start: {error}") from error
        for put in puts:
            if put.aside is not None and not put.known:
                self._story.volume_set_aside(start.ref, str(put.volume), str(put.aside))

    async def _put_volumes_back(self, start: Start, puts: tuple[Put, ...]) -> None:
        try:
            await self._volumes.put_back(puts)
        except HostError as error:
            raise Refused(
                f"{start.ref} did not come up, and may not start again before this is mended: {error}"
            ) from error

    async def _start_fresh(
        self, start: Start, decision: Fresh, candidates: list[Candidate], failed: dict[int, int]
    ) -> str:
        await self._await_lease(start)
        seconds = (datetime.now(UTC) - start.asked_at).total_seconds()
        self._save(start, candidates, failed, start.status(self._node, decision, seconds))
        metrics.COLD_STARTS.labels(decision.reason).inc()
        self._story.cold_start(start.ref, decision)
        await start.conversation.answer({"do": "fresh"})
        return "fresh"

    def _save(
        self,
        start: Start,
        candidates: list[Candidate],
        failed: dict[int, int],
        status: dict[str, Any] | None,
        attempt: dict[str, Any] | None = None,
    ) -> None:
        self._tracked.save(start.record(self._boot_id, candidates, failed, status, attempt))

    def _remember_failure(
        self, start: Start, decision: Restore, failed: dict[int, int], error: str, candidates: list[Candidate]
    ) -> None:
        log.error("could not restore a version", workload=str(start.ref), version=decision.version, error=error)
        self._save(start, candidates, failed, None)
        self._story.restore_failed(start.ref, decision, error)

    def _give_up(self, start: Start) -> None:
        """The task will not run: its record ends as the task before it did, so that the next one is decided alike."""
        tracked = self._tracked.get(start.ref)
        if tracked is not None and tracked.container_id == start.facts.id and tracked.start is None:
            tracked.end = start.end_before or end_status(End.CRASHED, datetime.now(UTC))
            self._tracked.save(tracked)

    async def _wait(self, start: Start, what: str, seconds: float) -> None:
        """Waits a little, and gives up with a clear sentence when the policy's hold limit is over."""
        start.conversation.waiting_for = what
        if datetime.now(UTC) + timedelta(seconds=seconds) > start.deadline:
            limit = start.policy.restore.hold_limit.total_seconds()
            raise Refused(f"{start.ref} may not start: waited {limit:g} s for {what}")
        await asyncio.sleep(seconds)


def _connections(
    start: Start, version: int, candidates: list[Candidate], failed: dict[int, int]
) -> dict[str, str | list[str]]:
    """What the shim is told of the connections in a version: whether they go on, and at which addresses."""
    held = next((item.connections for item in candidates if item.number == version), {})
    kept = kept_addresses(start.facts.raw)
    final = (start.end_before or {}).get("finalVersion")
    keeps = go_on(start.policy.tcp, version, held, final_version=final, failed=failed, kept=kept)
    if not keeps:
        return {"tcp": "close"}
    return {"tcp": "established", "addresses": [address for fixed in kept.values() for address in fixed]}
