"""Which versions are read back, by whom, and what the answers mean."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.model.checkpoint import (
    Checkpoint,
    CheckpointPhase,
    CopyState,
    How,
    Result,
    Verification,
    Verified,
    parse_checkpoint,
)
from swarmkeep.plan.actions import Plan, Tell
from swarmkeep.plan.verification import (
    NAMED,
    Finding,
    answer,
    has_open_wish,
    intact,
    is_open,
    must_stand_alone,
    next_order,
    plan_verification,
)
from swarmkeep.plan.workers import Worker

from ..objects import NOW, ago, checkpoint, worker, workload

DAY = timedelta(days=1)
WORKERS = (worker("n1"), worker("n2"))


def seen(
    number: int = 1, result: Result | None = Result.GOOD, *, age_s: float = 100, how: How = How.FULL, **fields: Any
) -> Verified:
    base = Verified(number, ago(age_s), how, result, ago(age_s) if how is How.FULL else None, "", "", None)
    return replace(base, **fields)


def order(number: int = 1, node: str = "n1", wish: str = "", how: How = How.FULL) -> Verification:
    return Verification(number, node, how, wish)


def plan(item: Checkpoint, workers: tuple[Worker, ...] = WORKERS, *, known: bool = True) -> Plan:
    return plan_verification(item, workload(), workers, known, NOW)


def given_order(made: Plan) -> Any:
    assert made.status is not None
    assert made.status.guarded, "somebody else may be faster"
    return made.status.fields["verification"]


def obey(item: Checkpoint, made: Plan) -> Checkpoint:
    """The version once the plan was carried out."""
    raw = given_order(made)
    if raw is None:
        return replace(item, verification=None)
    where = tuple(raw["locations"])
    given = Verification(raw["number"], raw["node"] or "", How(raw["how"]), raw["requestedAt"] or "", where)
    return replace(item, verification=given)


def test_a_wish_becomes_an_order_to_the_claim_holder() -> None:
    item = checkpoint(3, wish="t1", wish_how=How.QUICK, node="n2")
    given = given_order(plan(item))
    assert given == {
        "number": 1,
        "node": "n1",
        "how": "Quick",
        "requestedAt": "t1",
        "locations": ["main"],
        "message": None,
    }


def test_a_wish_is_for_all_locations_that_have_it_or_for_the_one_that_is_named() -> None:
    item = two(wish="t1")
    assert given_order(plan(item))["locations"] == ["main", "far"]
    assert given_order(plan(replace(item, wish_location="far")))["locations"] == ["far"]
    far_only = (worker("n2", "far"),)
    given = given_order(plan(replace(item, wish_location="far"), far_only))
    assert given["node"] == "n2", "whoever reaches it"
    ordered = replace(item, verification=Verification(1, "n2", How.FULL, "t1", ("main", "far")))
    assert plan(ordered, far_only).status is None, "half of it is better than to wait"


def test_an_order_stays_with_its_node_while_that_can() -> None:
    item = checkpoint(3, wish="t1", verification=order(node="n2", wish="t1"))
    assert plan(item).status is None
    lost = (worker("n1"), worker("n2", ready=False))
    moved = given_order(plan(item, lost))
    assert (moved["node"], moved["number"], moved["requestedAt"]) == ("n1", 2, "t1")
    blind = (worker("n1"), worker("n2", "other"))
    assert given_order(plan(item, blind))["node"] == "n1"


def test_without_a_node_it_says_why_and_waits() -> None:
    item = checkpoint(3, wish="t1")
    nobody = (worker("n1", "other"),)
    made = plan(item, nobody)
    assert "no node that is ready reaches main" in given_order(made)["message"]
    assert plan(obey(item, made), nobody).status is None, "and says it once"
    assert plan(obey(item, made), nobody).wake_at is not None
    assert given_order(plan(obey(item, made)))["node"] == "n1"
    assert "there is no StorageLocation main" in given_order(plan(item, (), known=False))["message"]


def test_a_wish_goes_before_an_order_that_nobody_waits_for() -> None:
    item = checkpoint(3, wish="t1", verification=order(4))
    assert given_order(plan(item))["requestedAt"] == "t1"
    assert given_order(plan(item))["number"] == 5


def test_an_answer_ends_the_order() -> None:
    item = checkpoint(3, wish="t1", verification=order(2, wish="t1"), verified=seen(2, wish="t1"))
    made = plan(item)
    assert given_order(made) is None
    assert made.actions == ()
    assert plan(obey(item, made)) == Plan(""), "and then there is nothing left to do"


def test_damage_and_trouble_are_told() -> None:
    damaged = plan(checkpoint(3, verification=order(2), verified=seen(2, Result.DAMAGED)))
    (told,) = damaged.actions
    assert isinstance(told, Tell)
    assert (told.warning, told.reason) == (True, "Damaged")
    failed = plan(checkpoint(3, verification=order(2), verified=seen(2, trouble="too slow", trouble_at=NOW)))
    (told,) = failed.actions
    assert isinstance(told, Tell)
    assert told.reason == "NotVerified"
    assert "too slow" in told.message


def test_the_answer_to_an_older_order_counts_for_nothing() -> None:
    item = checkpoint(3, wish="t2", verification=order(3, wish="t2"), verified=seen(2, wish="t1"))
    assert is_open(item)
    assert has_open_wish(item)
    assert plan(item).status is None


@pytest.mark.parametrize(
    ("damaged", "clean_from", "alone"),
    [((), 0, False), ((3,), 0, True), ((3, 7), 8, False), ((3, 8), 8, True), ((9,), 8, True)],
)
def test_a_version_leans_on_nothing_that_may_be_damaged(damaged: tuple[int, ...], clean_from: int, alone: bool) -> None:
    assert must_stand_alone(damaged, clean_from) is alone


def test_a_node_does_first_what_a_user_waits_for() -> None:
    items = [
        checkpoint(1, verification=order()),
        checkpoint(2, verification=order(wish="t2")),
        checkpoint(3, verification=order(wish="t1")),
        checkpoint(4, verification=order(node="n2", wish="t0")),
        checkpoint(5, verification=order(wish="t0"), verified=seen(1)),
        checkpoint(6),
    ]
    chosen = next_order(items, "n1")
    assert chosen is not None
    assert chosen.version == 3
    assert next_order(items[4:], "n1") is None


def finding(where: str = "main", /, **fields: Any) -> dict[str, Finding]:
    return {where: replace(Finding(NOW, "n1", 4096), **fields)}


HURT = (("image/a", "frame 0 was changed"),)
BOTH = {"main": CopyState.STORED, "far": CopyState.STORED}


def two(**fields: Any) -> Checkpoint:
    """A version that lies in two locations."""
    return checkpoint(3, CheckpointPhase.REPLICATED, copies=BOTH, **fields)


def after(said: dict[str, Any], item: Checkpoint) -> Checkpoint:
    """The version with that answer, as the API would give it back."""
    verified = {name: value for name, value in said.items() if value is not None}
    found = wire(verified, None).verified
    return replace(item, verified=found)


def test_an_answer_names_the_files_that_are_hit() -> None:
    problems = [(f"image/{number}", "x" * 1000) for number in range(NAMED + 5)]
    said = answer(checkpoint(1, verification=order(7, wish="t1")), {}, finding(problems=problems))
    assert (said["number"], said["requestedAt"], said["result"], said["damagedFiles"]) == (7, "t1", "Damaged", 25)
    assert len(said["problems"]) == NAMED
    assert said["problems"][0]["path"] == "image/0"
    assert len(said["locations"][0]["problems"]) == NAMED


def test_trouble_says_nothing_of_the_bytes() -> None:
    item = checkpoint(1, verification=order(7))
    before = answer(item, {}, finding(problems=HURT))
    said = answer(item, before, finding(trouble="away"))
    assert set(said) == {"number", "trouble", "troubleAt", "locations"}
    assert after(before | said, item).is_damaged


def test_a_quick_look_does_not_take_back_what_reading_every_byte_found() -> None:
    quick = checkpoint(1, verification=order(7, how=How.QUICK))
    full = checkpoint(1, verification=order(7, how=How.FULL))
    before = answer(full, {}, finding(problems=HURT))
    assert answer(quick, before, finding())["result"] == "Damaged"
    assert answer(full, before, finding())["result"] == "Good"
    seen_quickly = answer(quick, {}, finding(problems=HURT))
    assert answer(quick, seen_quickly, finding())["result"] == "Good"


@pytest.mark.parametrize(
    ("main", "far", "result", "good_in"),
    [
        ({}, {}, "Good", ("main", "far")),
        ({"problems": HURT}, {}, "DamagedCopy", ("far",)),
        ({}, {"problems": HURT}, "DamagedCopy", ("main",)),
        ({"problems": HURT}, {"problems": HURT}, "Damaged", ()),
        ({"problems": HURT, "repaired_from": "far"}, {}, "Repaired", ("main", "far")),
        ({"problems": HURT, "not_repaired": "full"}, {"trouble": "away"}, "DamagedCopy", ("far",)),
    ],
)
def test_damage_is_of_the_location_that_it_was_found_in(
    main: dict[str, Any], far: dict[str, Any], result: str, good_in: tuple[str, ...]
) -> None:
    item = two(verification=Verification(7, "n1", How.FULL, "", ("main", "far")))
    said = answer(item, {}, finding("main", **main) | finding("far", **far))
    assert said["result"] == result
    now = after(said, item)
    assert now.good_in == good_in
    assert now.is_good is bool(good_in), "it can be restored as long as one location has it whole"


def test_what_was_found_in_one_location_stays_when_another_is_looked_at() -> None:
    item = two(verification=Verification(7, "n1", How.FULL, "", ("main",)))
    first = answer(item, {}, finding("main", problems=HURT))
    second = answer(item, first, finding("far"))
    assert second["result"] == "DamagedCopy"
    third = answer(item, first | second, finding("far", problems=HURT))
    assert after(third, item).is_damaged


def test_a_repair_is_remembered_with_the_moment_of_the_damage() -> None:
    item = two(verification=Verification(7, "n1", How.FULL, "", ("main",)))
    said = answer(item, {}, finding("main", problems=HURT, repaired_from="far"))
    later = answer(item, said, {"main": Finding(NOW + DAY, "n1", 1)})
    look = after(later, item).look("main")
    assert look is not None
    assert (look.result, look.damaged_at, look.repaired_from) == (Result.GOOD, NOW, "far")


def test_news_of_single_copies_are_told() -> None:
    item = two(verification=Verification(7, "n1", How.FULL, "", ("main",)))

    def told(**found: Any) -> Tell:
        answered = after(answer(item, {}, finding("main", **found)), item)
        (step,) = plan(replace(answered, verification=item.verification)).actions
        assert isinstance(step, Tell)
        return step

    hurt = told(problems=HURT, not_repaired="it cannot be repaired: the disk is full")
    assert (hurt.warning, hurt.reason) == (True, "DamagedCopy")
    assert hurt.message == (
        "damaged in main (image/a); it is restored from far: it cannot be repaired: the disk is full"
    )
    mended = told(problems=HURT, repaired_from="far")
    assert (mended.warning, mended.reason) == (False, "Repaired")


def test_the_condition_tells_a_damaged_copy_from_a_lost_version() -> None:
    item = two(verification=Verification(7, "n1", How.FULL, "", ("main",)))
    copy = after(answer(item, {}, finding("main", problems=HURT)), item)
    found = intact([copy, checkpoint(10)])
    assert (found.status, found.reason) == ("False", "DamagedCopy")
    assert found.message.endswith("version 3 in main (image/a)")
    lost = checkpoint(9, verified=seen(1, Result.DAMAGED, files=("image/a",)))
    both = intact([copy, lost])
    assert both.reason == "Damaged"
    assert "version 9 (image/a); damaged in one location" in both.message


def test_nobody_answers_what_was_not_asked() -> None:
    with pytest.raises(ValueError, match="nobody ordered"):
        answer(checkpoint(1), {}, finding())


def test_the_condition_names_the_damaged_versions() -> None:
    damaged = [checkpoint(number, verified=seen(1, Result.DAMAGED, files=("image/a",))) for number in (2, 9, 5, 7)]
    going = checkpoint(1, CheckpointPhase.DELETING, verified=seen(1, Result.DAMAGED))
    found = intact([*damaged, going, checkpoint(10)])
    assert (found.status, found.reason) == ("False", "Damaged")
    assert found.message.endswith("version 2 (image/a), version 5 (image/a), version 7 (image/a) and 1 more")
    assert intact([checkpoint(10), going]).status == "True"
    whole = checkpoint(3, verified=seen(1, Result.DAMAGED, files=("", "b", "c", "d")))
    assert intact([whole]).message.endswith("version 3 (the whole version, b and 2 more)")


def wire(verified: dict[str, Any], verification: Any) -> Checkpoint:
    """As the API would give it back."""
    status = {"phase": "Stored", "version": 3, "location": "main", "verified": verified}
    status |= {"verification": verification} if verification else {}
    metadata = {"name": "redis.1-v3", "namespace": "default"}
    return parse_checkpoint({"metadata": metadata, "spec": {"workload": "redis.1", "verify": WISH}, "status": status})


WISH = {"requestedAt": "2026-01-01T11:00:00Z", "how": "Full"}


@settings(deadline=None)
@given(st.lists(st.sampled_from(["plan", "answer", "trouble", "lose n1", "lose n2", "heal"]), max_size=30))
def test_whatever_happens_a_wish_is_answered_once_and_all_comes_to_rest(steps: list[str]) -> None:
    """Operator and agents take turns in any order, nodes come and go; in the end all are well."""
    ready = {"n1": True, "n2": True}
    verified: dict[str, Any] = {}
    verification: Any = None
    answers = 0

    def now_planned() -> Plan:
        workers = tuple(worker(name, ready=alive) for name, alive in ready.items())
        return plan_verification(wire(verified, verification), workload(), workers, True, NOW)

    for step in [*steps, "heal", *["plan", "answer"] * 3, "plan"]:
        item = wire(verified, verification)
        if step == "plan" and (made := now_planned()).status is not None:
            verification = made.status.fields["verification"]
        elif step in ("answer", "trouble") and is_open(item) and item.verification and item.verification.node:
            said = answer(item, verified, finding(trouble="away" if step == "trouble" else ""))
            verified = {name: value for name, value in (verified | said).items() if value is not None}
            answers += 1
        elif step.startswith("lose"):
            ready[step[-2:]] = False
        elif step == "heal":
            ready = dict.fromkeys(ready, True)
    assert answers == 1
    assert not has_open_wish(wire(verified, verification))
    assert now_planned() == Plan("")
    assert verification is None


def test_moments_are_those_of_the_wire() -> None:
    item = wire({"number": 2, "result": "Good", "how": "Full", "at": "2026-01-01T11:30:00Z"}, None)
    assert item.verified is not None
    assert item.verified.at == datetime.fromisoformat("2026-01-01T11:30:00+00:00")
    assert item.is_good
