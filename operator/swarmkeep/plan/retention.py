"""Which versions may go. Used by the operator."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase

FAILURES_KEPT = 3
"""Failed tries that stay listed for each workload, so that one can read why."""


def plan_retention(
    checkpoints: Iterable[Checkpoint], keep_last: int, keep_versions: Collection[int] = ()
) -> tuple[Checkpoint, ...]:
    """The versions of one workload that go, the oldest first.

    The `keep_last` newest good ones stay; so do pinned ones and those whose numbers are in `keep_versions`, on top of
    that. A damaged version counts for none of them: it goes when as many good ones are newer. Whatever is still being
    made or already being deleted is not touched. Of failed tries the newest few stay.
    """
    present = [item for item in checkpoints if not item.deleting]
    stored = [item for item in present if item.phase is CheckpointPhase.STORED and item.version is not None]
    failed = [item for item in present if item.phase is CheckpointPhase.FAILED]
    stored.sort(key=lambda item: (item.version or 0, item.ref))
    failed.sort(key=lambda item: (item.created_at.isoformat() if item.created_at else "", item.ref))
    good = [item.version or 0 for item in stored if not item.is_damaged]
    oldest_kept = good[-max(1, keep_last)] if len(good) >= max(1, keep_last) else 0
    old = [item for item in stored if (item.version or 0) < oldest_kept] + failed[:-FAILURES_KEPT]
    return tuple(item for item in old if not item.pinned and item.version not in keep_versions)
