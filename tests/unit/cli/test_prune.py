"""What `prune --dry-run` says of each version."""

from __future__ import annotations

from typing import Any

from swarmkeep.cli.prune import Look, rows
from swarmkeep.model.checkpoint import CheckpointPhase
from swarmkeep.plan.pruning import plan_pruning

from ..objects import NOW, checkpoint, policy, workload

VERSIONS = [
    checkpoint(1, age_s=7200, pinned=True),
    checkpoint(2, age_s=90),
    checkpoint(3, age_s=60, stored_bytes=5 << 20),
    checkpoint(4, CheckpointPhase.DELETING, age_s=5),
    checkpoint(None, CheckpointPhase.DUMPING, name="now", age_s=1),
]


def table(**status: Any) -> list[list[str]]:
    subject = workload(**status)
    plan = plan_pruning(subject, policy(retention={"keepLast": 1}), VERSIONS, NOW, node_lost=False)
    return rows(Look(subject, plan), NOW)


def test_a_row_says_age_size_fate_and_reason() -> None:
    assert table() == [
        ["redis.1", "redis.1-v4", "5s", "0.98 KiB", "removing", "its removal has begun"],
        ["redis.1", "redis.1-v3", "1m", "5.00 MiB", "keep", "newest, keepLast"],
        ["redis.1", "redis.1-v2", "1m30s", "0.98 KiB", "remove", "no rule keeps it"],
        ["redis.1", "redis.1-v1", "2h", "0.98 KiB", "keep", "pinned"],
        ["redis.1", "now", "", "", "taking", "it is not finished"],
    ]


def test_what_no_rule_keeps_is_held_while_the_workload_does_not_run() -> None:
    fates = {name: (fate, why) for _, name, _, _, fate, why in table(phase="Held")}
    assert fates["redis.1-v2"] == (
        "hold",
        "no rule keeps it, but it is Held, not Running: one of them may be needed",
    )
    assert fates["redis.1-v3"] == ("keep", "newest, keepLast")
