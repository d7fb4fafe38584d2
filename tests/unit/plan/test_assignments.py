"""Who takes a version that is wanted, who removes one that goes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, CopyState, Reason
from swarmkeep.model.kinds import LABEL_NODE, LABEL_WORKLOAD
from swarmkeep.plan.actions import Action, AssignCheckpoint, DropCheckpoint, FailCheckpoint, Plan
from swarmkeep.plan.assignments import PENDING_LIMIT, CheckpointView, plan_checkpoint

from ..objects import NOW, checkpoint, worker, workload

WISH = checkpoint(None, CheckpointPhase.NEW, name="now", reason=Reason.ON_DEMAND, node="")


def view(item: Checkpoint, **fields: Any) -> CheckpointView:
    base = CheckpointView(item, False, workload(), (worker("n1"), worker("n2")), locations_known=frozenset({"main"}))
    return replace(base, **fields)


def only_action(plan: Plan) -> Action:
    (action,) = plan.actions
    return action


def test_a_wish_goes_to_the_node_that_runs_the_workload() -> None:
    action = only_action(plan_checkpoint(view(WISH), NOW))
    assert isinstance(action, AssignCheckpoint)
    assert (action.phase, action.node) == (CheckpointPhase.PENDING, "n1")
    assert action.labels[LABEL_NODE] == "n1"
    assert action.labels[LABEL_WORKLOAD] == "redis.1"


def test_a_record_that_an_agent_is_just_making_is_no_wish() -> None:
    assert plan_checkpoint(view(WISH, made_by_agent=True), NOW).actions == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"workload": None}, "no workload redis.1"),
        ({"workload": workload(phase="Held")}, "is Held, not Running"),
        ({"workload": workload(claim="")}, "nothing to take a version of"),
        ({"workers": (worker("n1", ready=False),)}, "n1, which runs"),
    ],
)
def test_a_wish_that_cannot_be_granted_fails_with_the_reason(fields: dict[str, Any], words: str) -> None:
    action = only_action(plan_checkpoint(view(WISH, **fields), NOW))
    assert isinstance(action, FailCheckpoint)
    assert words in action.message


def test_a_wish_follows_the_workload() -> None:
    waiting = replace(WISH, phase=CheckpointPhase.PENDING, node="n1")
    moved = only_action(plan_checkpoint(view(waiting, workload=workload(claim="n2")), NOW))
    assert isinstance(moved, AssignCheckpoint)
    assert moved.node == "n2"
    assert plan_checkpoint(view(waiting), NOW).actions == ()


def test_a_wish_does_not_wait_for_ever() -> None:
    waiting = replace(WISH, phase=CheckpointPhase.PENDING, node="n1", created_at=NOW - PENDING_LIMIT)
    assert isinstance(only_action(plan_checkpoint(view(waiting), NOW)), FailCheckpoint)
    soon = replace(waiting, created_at=NOW - PENDING_LIMIT + timedelta(seconds=1))
    assert plan_checkpoint(view(soon), NOW).wake_at == NOW + timedelta(seconds=1)


@pytest.mark.parametrize("phase", [CheckpointPhase.DUMPING, CheckpointPhase.STORING])
def test_what_a_lost_node_was_at_has_failed(phase: CheckpointPhase) -> None:
    item = replace(WISH, phase=phase, node="n1")
    assert plan_checkpoint(view(item), NOW).actions == ()
    lost = view(item, workers=(worker("n1", ready=False),))
    assert isinstance(only_action(plan_checkpoint(lost, NOW)), FailCheckpoint)


def test_a_deleted_version_is_given_to_the_claim_holder() -> None:
    item = checkpoint(3, deleting=True, node="n2")
    action = only_action(plan_checkpoint(view(item), NOW))
    assert isinstance(action, AssignCheckpoint)
    assert (action.phase, action.node, action.why) == (CheckpointPhase.DELETING, "n1", "Requested")
    assert action.labels == {LABEL_NODE: "n1"}, "an agent may write only what carries its name"


def test_a_deletion_stays_where_it_is_while_that_node_lives() -> None:
    item = checkpoint(3, CheckpointPhase.DELETING, node="n2", finalizers=("swarmkeep.dev/data",))
    assert plan_checkpoint(view(item), NOW).actions == ()
    dead = view(item, workers=(worker("n1"), worker("n2", ready=False)))
    action = only_action(plan_checkpoint(dead, NOW))
    assert isinstance(action, AssignCheckpoint)
    assert action.node == "n1"


def test_without_a_node_that_reaches_the_data_the_object_says_so_and_stays() -> None:
    item = checkpoint(3, deleting=True)
    plan = plan_checkpoint(view(item, workers=(worker("n1", "other"),)), NOW)
    assert plan.actions == ()
    assert plan.status is not None
    assert "no node that is ready reaches main" in plan.status.fields["message"]
    assert plan.wake_at is not None


def test_an_object_without_data_goes_at_once() -> None:
    item = checkpoint(None, CheckpointPhase.DELETING, finalizers=("swarmkeep.dev/data", "theirs"))
    action = only_action(plan_checkpoint(view(item), NOW))
    assert isinstance(action, DropCheckpoint)
    assert action.finalizers == ("theirs",)


def test_the_finalizers_of_others_are_left_alone() -> None:
    item = checkpoint(3, deleting=True, finalizers=("theirs",))
    assert plan_checkpoint(view(item), NOW).actions == ()


def test_settled_versions_need_nothing() -> None:
    assert plan_checkpoint(view(checkpoint(3)), NOW).actions == ()


def test_a_version_goes_by_way_of_a_node_that_reaches_all_its_locations() -> None:
    copies = {"main": CopyState.STORED, "far": CopyState.STORED}
    item = checkpoint(1, CheckpointPhase.REPLICATED, deleting=True, copies=copies)
    workers = (worker("n1", "main"), worker("n2", "main", "far"))
    action = only_action(plan_checkpoint(view(item, workers=workers), NOW))
    assert isinstance(action, AssignCheckpoint)
    assert action.node == "n2"
    # A location that nobody reaches must not keep the others full.
    action = only_action(plan_checkpoint(view(item, workers=(worker("n1", "main"),)), NOW))
    assert isinstance(action, AssignCheckpoint)
    assert action.node == "n1"


def test_a_version_of_a_lost_node_that_is_not_everywhere_goes_to_who_runs_the_workload() -> None:
    item = checkpoint(1, node="n1", copies={"main": CopyState.STORED, "far": CopyState.PENDING})
    lost = (worker("n1", ready=False), worker("n2"))
    action = only_action(plan_checkpoint(view(item, workload=workload(claim="n2"), workers=lost), NOW))
    assert isinstance(action, AssignCheckpoint)
    assert (action.phase, action.node, action.labels[LABEL_NODE]) == (CheckpointPhase.STORED, "n2", "n2")
    waiting = plan_checkpoint(view(item, workload=workload(claim="n1"), workers=lost), NOW)
    assert waiting.actions == ()
    assert waiting.wake_at is not None
    assert plan_checkpoint(view(item), NOW) == Plan("")
