"""What becomes of the manifests that an import finds, and who does it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.errors import InvalidObject
from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, Reason
from swarmkeep.model.ident import Ref
from swarmkeep.plan.importing import Found, ImportState, Leave, Make, decide, plan_order

from ..objects import NOW, ago, checkpoint, stamp, worker

WISH = {"requestedAt": "t1", "dryRun": False, "adopt": True}
WORKERS = (worker("n1"), worker("n2"))


def found(number: int = 3, **facts: Any) -> Found:
    said = {
        "takenAt": stamp(60),
        "specHash": "hash",
        "node": "old-node",
        "frozenSeconds": 0.25,
        "policy": "redis",
        "reason": "Schedule",
        "serviceID": "svc0",
        "host": {"kernel": "6.1", "criu": "4.2", "more": "x"},
    }
    sizes = {"memory": 10, "files": 5, "stored": 3}
    return Found(Ref("default", "redis.1"), number, "main", ago(61), sizes, {**said, **facts})


def test_an_order_goes_to_a_node_that_reaches_the_location() -> None:
    given = plan_order("main", ImportState(WISH), (worker("n1", "other"), worker("n2")))
    assert given == {"number": 1, "node": "n2", "requestedAt": "t1", "dryRun": False, "adopt": True, "message": None}


def test_an_order_stays_while_its_node_can_and_moves_when_it_cannot() -> None:
    order = plan_order("main", ImportState(WISH), (worker("n2"),))
    assert order is not None
    assert plan_order("main", ImportState(WISH, order), WORKERS) == order
    moved = plan_order("main", ImportState(WISH, order), (worker("n1"), worker("n2", ready=False)))
    assert moved is not None
    assert (moved["node"], moved["number"]) == ("n1", 2)


def test_without_a_node_it_says_why_and_says_it_once() -> None:
    order = plan_order("main", ImportState(WISH), ())
    assert order is not None
    assert order["node"] is None
    assert "no node that is ready reaches main" in order["message"]
    assert plan_order("main", ImportState(WISH, order), ()) == order
    later = plan_order("main", ImportState(WISH, order), WORKERS)
    assert later is not None
    assert later["node"] == "n1"


def test_an_answer_ends_it_and_another_wish_begins_anew() -> None:
    order = plan_order("main", ImportState(WISH), WORKERS)
    answered = ImportState(WISH, order or {}, {"number": 1, "requestedAt": "t1"})
    assert plan_order("main", answered, WORKERS) is None
    again = plan_order("main", replace(answered, wish={**WISH, "requestedAt": "t2", "dryRun": True}), WORKERS)
    assert again is not None
    assert (again["number"], again["requestedAt"], again["dryRun"]) == (2, "t2", True)


def test_nobody_imports_what_nobody_wished() -> None:
    assert plan_order("main", ImportState(), WORKERS) is None


@settings(deadline=None)
@given(st.lists(st.sampled_from(["plan", "answer", "lose", "heal", "wish"]), max_size=30))
def test_whatever_happens_the_last_wish_is_answered_and_all_comes_to_rest(steps: list[str]) -> None:
    wish, order, answer = dict(WISH), {}, {}  # type: dict[str, Any], dict[str, Any], dict[str, Any]
    workers = WORKERS
    for step in [*steps, "heal", *["plan", "answer"] * 3, "plan"]:
        state = ImportState(wish, order, answer)
        if step == "plan":
            order = dict(plan_order("main", state, workers) or {})
        elif step == "answer" and state.is_open and order["node"]:
            answer = {"number": order["number"], "requestedAt": order["requestedAt"]}
        elif step == "lose":
            workers = (worker("n1", ready=False), worker("n2", ready=False))
        elif step == "heal":
            workers = WORKERS
        elif step == "wish":
            wish["requestedAt"] += "+"
    assert answer["requestedAt"] == wish["requestedAt"]
    assert order == {}


def test_a_version_without_an_object_gets_one_that_says_all_that_is_known() -> None:
    made = decide(found(), [], "n1", NOW)
    assert isinstance(made, Make)
    assert (made.name, made.policy, made.reason) == ("redis.1-v3", "redis", Reason.SCHEDULE)
    assert made.status == {
        "phase": "Stored",
        "version": 3,
        "node": "n1",
        "location": "main",
        "takenAt": stamp(60),
        "specHash": "hash",
        "bytes": {"memory": 10, "files": 5, "stored": 3},
        "imported": {"at": stamp(), "takenBy": "old-node"},
        "frozenSeconds": 0.25,
        "host": {"kernel": "6.1", "criu": "4.2"},
    }


@pytest.mark.parametrize("phase", [CheckpointPhase.STORED, CheckpointPhase.DELETING])
@pytest.mark.parametrize("deleting", [True, False])
def test_a_version_with_an_object_is_left_alone_whatever_that_does(phase: CheckpointPhase, deleting: bool) -> None:
    known = checkpoint(3, phase, name="by-hand", deleting=deleting, location="offsite")
    assert decide(found(), [known], "n1", NOW) == Leave(known=True)


def test_a_version_on_demand_gets_back_the_name_that_the_user_gave_it() -> None:
    made = decide(found(checkpoint="before-upgrade", reason="OnDemand"), [], "n1", NOW)
    assert isinstance(made, Make)
    assert (made.name, made.reason) == ("before-upgrade", Reason.ON_DEMAND)


def test_a_name_that_another_version_has_by_now_is_not_taken() -> None:
    other = checkpoint(9, name="before-upgrade")
    failed = checkpoint(None, CheckpointPhase.FAILED, name="before-upgrade")
    for known in (other, failed):
        made = decide(found(checkpoint="before-upgrade"), [known], "n1", NOW)
        assert isinstance(made, Make)
        assert made.name == "redis.1-v3"


@pytest.mark.parametrize("phase", [CheckpointPhase.NEW, CheckpointPhase.PENDING, CheckpointPhase.STORING])
def test_a_version_whose_record_may_be_on_its_way_is_left_to_it(phase: CheckpointPhase) -> None:
    known = checkpoint(None, phase, name="before-upgrade")
    verdict = decide(found(checkpoint="before-upgrade"), [known], "n1", NOW)
    assert isinstance(verdict, Leave)
    assert "import again" in verdict.why


def test_an_object_that_an_import_left_half_made_is_finished() -> None:
    half = checkpoint(None, CheckpointPhase.NEW, name="redis.1-v3", is_imported=True)
    made = decide(found(), [half], "n1", NOW)
    assert isinstance(made, Make)
    assert made.name == "redis.1-v3"


def test_a_policy_that_cannot_be_a_label_is_left_out() -> None:
    made = decide(found(policy="p" * 80), [], "n1", NOW)
    assert isinstance(made, Make)
    assert made.policy == ""


@pytest.mark.parametrize(
    "facts",
    [
        {"specHash": None},
        {"specHash": 7},
        {"reason": "Whim"},
        {"takenAt": "yesterday"},
        {"takenAt": "0001-01-01T00:00:00+23:00"},
        {"checkpoint": "../../secrets"},
        {"checkpoint": "x" * 300},
        {"node": ["n1"]},
    ],
)
def test_facts_that_make_no_sense_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(InvalidObject):
        decide(found(**facts), [], "n1", NOW)


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.lists(st.text()))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*found().facts, "checkpoint"]), values))
def test_hostile_facts_end_in_an_object_or_in_an_error(facts: dict[str, Any]) -> None:
    try:
        made = decide(found(**facts), [], "n1", NOW)
    except InvalidObject:
        return
    assert isinstance(made, Make)
    assert made.status["version"] == 3


names = st.sampled_from(["redis.1-v1", "redis.1-v2", "redis.1-v3", "mine"])
objects = st.tuples(
    names, st.sampled_from(list(CheckpointPhase)), st.one_of(st.none(), st.integers(1, 4)), st.booleans(), st.booleans()
)


@settings(deadline=None)
@given(
    st.lists(objects, max_size=6, unique_by=lambda row: row[0]),
    st.dictionaries(st.integers(1, 4), st.sampled_from(["", "mine", "redis.1-v2"])),
)
def test_importing_twice_makes_nothing_twice_and_takes_no_name_from_anybody(
    rows: list[Any], manifests: dict[int, str]
) -> None:
    known = {
        name: checkpoint(version, phase, name=name, deleting=deleting, is_imported=imported)
        for name, phase, version, deleting, imported in rows
    }

    def run() -> int:
        made = 0
        for number, name in manifests.items():
            verdict = decide(found(number, **({"checkpoint": name} if name else {})), known.values(), "n1", NOW)
            if not isinstance(verdict, Make):
                continue
            holder = known.get(verdict.name)
            if holder is not None and not (holder.is_imported and holder.version is None):
                # The API refuses it: the name is taken.
                continue
            known[verdict.name] = _stored(verdict.name, number)
            made += 1
        return made

    run()
    assert run() == 0
    before, after = [row[2] for row in rows], [item.version for item in known.values()]
    for number in manifests:
        assert after.count(number) <= max(1, before.count(number))


def _stored(name: str, number: int) -> Checkpoint:
    return checkpoint(number, name=name, is_imported=True)
