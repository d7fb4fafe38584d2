"""When the next version of a workload is due."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy

LONGEST_BACKOFF = timedelta(minutes=10)


def next_due(policy: Policy, workload: Ref, last_taken_at: datetime, failures: int) -> datetime | None:
    """The instant at which the next version is due; None while the policy is suspended.

    `last_taken_at` is when the version before was taken, or the container started, or the last try failed; `failures`
    counts tries in a row that failed, and doubles the wait each time up to `LONGEST_BACKOFF` (never below `every`).
    """
    if policy.suspend:
        return None
    wait = policy.every
    if failures:
        wait = max(policy.every, min(policy.every * 2 ** min(failures, 16), LONGEST_BACKOFF))
    return last_taken_at + wait * (1 + policy.jitter * _spread(workload, last_taken_at))


def overdue_after(policy: Policy) -> timedelta:
    """The age of the newest version from which a workload no longer counts as protected.

    Two intervals and a grace for dumping and storing: one version may fail without an alarm.
    """
    return policy.every * (2 + policy.jitter) + timedelta(seconds=10)


def _spread(workload: Ref, last_taken_at: datetime) -> float:
    """A number in [-1, 1) that looks random but is the same for the same version, so that plans can be replayed."""
    digest = hashlib.blake2b(f"{workload}@{last_taken_at.isoformat()}".encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**31 - 1
