"""Writes down how a container ended, and what that says of the version that it came from."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.runtime.containers import ContainerFacts
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import RestoreRules
from swarmkeep.model.workload import End
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.crashes import Life, judge_life
from swarmkeep.plan.ends import end_status

log = structlog.get_logger(__name__)


class Postmortem:
    """The ends of this node's protected containers."""

    def __init__(self, desired: Desired, restores: Restores, tracked: TrackedContainers) -> None:
        self._desired = desired
        self._restores = restores
        self._tracked = tracked

    def settle(self, tracked: Tracked, facts: ContainerFacts | None, now: datetime) -> None:
        """The container's process has ended; `facts` is None when Docker does not know it any more."""
        how, exit_code = self._how_it_ended(tracked, facts)
        tracked.end = end_status(how, now, exit_code)
        self._judge(tracked, how, (facts.ended_at if facts else None) or now)
        self._tracked.save(tracked)

    def never_came_up(self, tracked: Tracked, now: datetime) -> None:
        """Docker did not take over what the runtime had made: that speaks for no version, and answers no order.

        Its end is that of the task before, so that the next start is decided alike.
        """
        tracked.end = tracked.end_before or end_status(End.CRASHED, now)
        tracked.start = tracked.attempt = None
        self._restores.forget(tracked.container_id)
        self._tracked.save(tracked)

    def _how_it_ended(self, tracked: Tracked, facts: ContainerFacts | None) -> tuple[End, int | None]:
        exit_code = facts.exit_code if facts else None
        if tracked.stop_requested or tracked.ending:
            return End.STOPPED, exit_code
        if facts is not None and facts.oom_killed:
            return End.OUT_OF_MEMORY, exit_code
        if exit_code == 0:
            return End.EXITED, exit_code
        return End.CRASHED, exit_code

    def _judge(self, tracked: Tracked, how: End, ended_at: datetime) -> None:
        """Holds a crash against the version that the task came from, and counts crashes in a row."""
        started = tracked.start or {}
        newest = (tracked.newest or {}).get("number", 0)
        life = Life(
            restored=started.get("version"),
            fresh=started.get("how") == "Fresh",
            how=how,
            ended_at=ended_at,
            lived=max(timedelta(0), ended_at - tracked.started_at),
            own_versions=range(tracked.number_before + 1, newest + 1),
            lost_pages=self._restores.lost_pages(tracked.container_id),
        )
        policy = self._desired.policy(Ref(tracked.ref.namespace, tracked.policy))
        attempts = (policy.restore if policy is not None else RestoreRules()).attempts
        failed = {int(number): count for number, count in tracked.failed_restores.items()}
        verdict = judge_life(life, failed, tracked.crashes, attempts)
        tracked.failed_restores = {str(number): count for number, count in verdict.failed_restores.items()}
        row_before, tracked.crashes = tracked.crashes, verdict.crashes
        if life.restored is not None and tracked.crashes not in (None, row_before):
            metrics.RESTORED_CRASHES.labels(str(how)).inc()
            log.error(
                "a restored process crashed",
                workload=str(tracked.ref),
                version=life.restored,
                how=str(how),
                lived_seconds=round(life.lived.total_seconds(), 1),
                in_row=tracked.crashes.in_row if tracked.crashes else 0,
                failed_restores=tracked.failed_restores,
            )
        self._restores.forget(tracked.container_id)
