"""Runs a policy's hooks around a version. Those after it are owed from the moment at which the first before it begins.

A process that is restored is in the state between the two: it is owed them as well. What is owed is in the journal, so
that the agent's death, or that of a dump, does not leave an application waiting.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from swarmkeep.agent.runtime.containers import ContainerFacts
from swarmkeep.agent.runtime.hook import HookFailed
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.model.policy import Hook, OnFailure, Policy

log = structlog.get_logger(__name__)

LEAST_S = 1.0
"""What a hook after a final version that failed gets at least, though little of the grace period is left."""


class Runner(Protocol):
    """runtime.hook.HookRunner."""

    async def run(self, container_id: str, pid: int, command: Sequence[str], limit_s: float) -> None:
        """Runs one to its end, within its time. Raises HookFailed."""


class Hooks:
    """Those of one node's workloads."""

    def __init__(self, runner: Runner, tracked: TrackedContainers) -> None:
        self._runner = runner
        self._tracked = tracked

    @asynccontextmanager
    async def around(
        self, tracked: Tracked, policy: Policy, facts: ContainerFacts, final_limit_s: float | None
    ) -> AsyncGenerator[None]:
        """Runs those before, then what is inside, then those after: whatever became of the former.

        With `final_limit_s` all has to fit into that, and what is inside ends the process unless it raises. Raises
        HookFailed, for one after only if all went well inside.
        """
        if not policy.hooks:
            yield
            return
        ends_at = None if final_limit_s is None else time.monotonic() + final_limit_s
        if policy.hooks.after:
            self._owe(tracked, True)
        try:
            await self._run("before", policy.hooks.before, facts, ends_at, 0.0)
            yield
        except BaseException:
            try:
                await asyncio.shield(self._after(tracked, policy, facts, ends_at))
            except HookFailed as error:
                log.error("a hook failed after a version that failed", workload=str(tracked.ref), error=str(error))
            raise
        if final_limit_s is None:
            await self._after(tracked, policy, facts, ends_at)
        else:
            # Whoever is restored from it is owed them.
            self._owe(tracked, False)

    async def settle(self, tracked: Tracked, policy: Policy, facts: ContainerFacts) -> None:
        """Runs what is owed to a container. Raises HookFailed, with which it is owed no more."""
        await self._after(tracked, policy, facts, None)

    async def _after(self, tracked: Tracked, policy: Policy, facts: ContainerFacts, ends_at: float | None) -> None:
        try:
            await self._run("after", policy.hooks.after, facts, ends_at, LEAST_S)
        finally:
            self._owe(tracked, False)

    async def _run(
        self, when: str, hooks: Sequence[Hook], facts: ContainerFacts, ends_at: float | None, least_s: float
    ) -> None:
        """Runs all of them, those behind one that failed only if they come after a version."""
        failure: HookFailed | None = None
        for number, hook in enumerate(hooks):
            limit_s = hook.timeout.total_seconds()
            if ends_at is not None:
                limit_s = min(limit_s, max(ends_at - time.monotonic(), least_s))
            try:
                await self._runner.run(facts.id, facts.pid, hook.command, limit_s)
            except HookFailed as error:
                told = HookFailed(f"checkpoint.hooks.{when}[{number}]: {error}")
                if hook.on_failure is OnFailure.CONTINUE:
                    log.warning("a hook failed", container=facts.name, error=str(told))
                    continue
                if when == "before":
                    raise told from error
                failure = failure or told
            else:
                log.debug("ran a hook", container=facts.name, when=when, command=shlex.join(hook.command))
        if failure is not None:
            raise failure

    def _owe(self, tracked: Tracked, owed: bool) -> None:
        if tracked.owes_hooks != owed:
            tracked.owes_hooks = owed
            if self._tracked.get(tracked.ref) is tracked:
                self._tracked.save(tracked)
