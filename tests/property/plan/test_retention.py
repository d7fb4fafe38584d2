"""What must hold of retention for every list of versions, every set of rules and every instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, How, Result, Verified
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import RetentionRules
from swarmkeep.plan.retention import FAILURES_KEPT, Fate, Retention, plan_retention

from ...unit.objects import NOW, checkpoint

DAMAGED = Verified(1, NOW, How.FULL, Result.DAMAGED, NOW, "", "", None)
AGES = st.one_of(st.integers(0, 4 * 3600), st.integers(0, 60 * 86_400))

rules = st.builds(
    RetentionRules,
    keep_last=st.integers(1, 6),
    keep_hourly=st.integers(0, 5),
    keep_daily=st.integers(0, 5),
    keep_weekly=st.integers(0, 4),
    max_age=st.none() | st.builds(lambda seconds: timedelta(seconds=seconds), AGES.filter(bool)),
)


@dataclass(frozen=True, slots=True)
class Scene:
    versions: list[Checkpoint]
    rules: RetentionRules
    needed: MappingProxyType[int, str]

    def plan(self, now: datetime = NOW, without: tuple[Checkpoint, ...] = ()) -> Retention:
        left = [item for item in self.versions if item not in without]
        return plan_retention(left, self.rules, now, self.needed)


def stored(ages: list[tuple[int, bool]]) -> list[Checkpoint]:
    return [checkpoint(number, age_s=age, pinned=pinned) for number, (age, pinned) in enumerate(ages, 1)]


def in_order(ages: list[tuple[int, bool]]) -> list[Checkpoint]:
    """Taken one after the other by clocks that agree."""
    return stored(sorted(ages, reverse=True))


def mixed(rows: list[tuple[int | None, CheckpointPhase, bool, bool, int]]) -> list[Checkpoint]:
    """Anything that the API may hold: repeated numbers, failures, damage, versions that come and go, odd clocks."""
    return [
        checkpoint(
            number,
            phase,
            name=f"c{index}",
            pinned=pinned,
            deleting=deleting,
            age_s=age,
            verified=DAMAGED if age % 3 == 0 else None,
        )
        for index, (number, phase, pinned, deleting, age) in enumerate(rows)
    ]


pairs = st.lists(st.tuples(AGES, st.sampled_from([False, False, False, True])), max_size=40)
phases = st.sampled_from([CheckpointPhase.STORED] * 6 + list(CheckpointPhase))
rows = st.lists(st.tuples(st.none() | st.integers(1, 40), phases, st.booleans(), st.booleans(), AGES), max_size=40)
needed = st.dictionaries(st.integers(1, 40), st.just("needed"), max_size=2).map(MappingProxyType)


def scenes(versions: Any) -> Any:
    return st.builds(Scene, versions, rules, needed)


any_scene = scenes(pairs.map(stored) | pairs.map(in_order) | rows.map(mixed))


@given(any_scene)
def test_nothing_goes_that_must_stay(scene: Scene) -> None:
    plan = scene.plan()
    good = [item for item in scene.versions if item.is_good]
    left = [item for item in good if item not in plan.going]
    if good:
        assert max(item.version or 0 for item in left) == max(item.version or 0 for item in good)
    assert not any(item.pinned or item.version in scene.needed for item in plan.going)
    assert all(item.is_stored or item.phase is CheckpointPhase.FAILED for item in plan.going)
    assert not any(item.deleting for item in plan.going)
    failures = [item for item in scene.versions if item.phase is CheckpointPhase.FAILED and not item.deleting]
    assert len([item for item in failures if item not in plan.going]) >= min(FAILURES_KEPT, len(failures))


@given(any_scene)
def test_every_version_has_one_verdict_with_a_reason_and_only_those_that_are_removed_go(scene: Scene) -> None:
    plan = scene.plan()
    assert sorted(verdict.checkpoint.ref for verdict in plan.verdicts) == sorted(item.ref for item in scene.versions)
    assert all(verdict.why for verdict in plan.verdicts)
    removed = [verdict.checkpoint for verdict in plan.verdicts if verdict.fate is Fate.REMOVE]
    assert sorted(item.ref for item in removed) == sorted(item.ref for item in plan.going)


@given(scenes(pairs.map(in_order)))
def test_as_many_stay_as_the_rules_say_unless_they_are_too_old(scene: Scene) -> None:
    def young(item: Checkpoint) -> bool:
        assert item.taken_at is not None
        return scene.rules.max_age is None or NOW - item.taken_at < scene.rules.max_age

    plan = scene.plan()
    kept = {item.ref for item in scene.versions} - {item.ref for item in plan.going}
    newest_first = scene.versions[::-1]
    assert {item.ref for item in newest_first[: scene.rules.keep_last] if young(item)} <= kept
    for count, form in (
        (scene.rules.keep_hourly, "%Y %j %H"),
        (scene.rules.keep_daily, "%Y %j"),
        (scene.rules.keep_weekly, "%G %V"),
    ):
        newest_of: dict[str, Checkpoint] = {}
        for item in newest_first:
            assert item.taken_at is not None
            newest_of.setdefault(item.taken_at.strftime(form), item)
        assert {item.ref for item in list(newest_of.values())[:count] if young(item)} <= kept


@given(any_scene)
def test_what_is_left_over_stays(scene: Scene) -> None:
    first = scene.plan()
    assert scene.plan(without=first.going).going == ()


@given(any_scene)
def test_stopped_anywhere_and_planned_again_it_comes_to_the_same_end(scene: Scene) -> None:
    going = scene.plan().going
    for done in range(len(going) + 1):
        assert scene.plan(without=going[:done]).going == going[done:]


@given(scenes(pairs.map(in_order)), st.data())
def test_whichever_of_them_went_first_the_rest_follows(scene: Scene, data: st.DataObject) -> None:
    going = scene.plan().going
    gone = data.draw(st.sets(st.sampled_from(going)) if going else st.just(set()))
    rest = tuple(item for item in going if item not in gone)
    assert scene.plan(without=tuple(gone)).going == rest


@given(any_scene, st.lists(st.integers(0, 30 * 86_400), max_size=4))
def test_as_time_passes_only_more_goes(scene: Scene, steps: list[int]) -> None:
    moments = [NOW]
    for step in steps:
        moments.append(moments[-1] + timedelta(seconds=step))
    gone = [{item.ref for item in scene.plan(now).going} for now in moments]
    assert all(before <= after for before, after in pairwise(gone))


@given(any_scene)
def test_it_asks_to_be_woken_at_the_first_instant_at_which_something_goes(scene: Scene) -> None:
    plan = scene.plan()
    if plan.wake_at is None:
        assert scene.plan(NOW + timedelta(days=10_000)).going == plan.going
    else:
        assert plan.wake_at > NOW
        assert scene.plan(plan.wake_at - timedelta(microseconds=1)).going == plan.going
        assert len(scene.plan(plan.wake_at).going) > len(plan.going)


@given(st.lists(st.integers(1, 7200), min_size=1, max_size=60), rules)
def test_pruned_after_each_new_version_it_keeps_what_it_would_keep_of_all_of_them(
    pauses: list[int], chosen: RetentionRules
) -> None:
    """Pruning early costs nothing: what a rule will want later was not let go before."""
    every: list[Checkpoint] = []
    kept: list[Checkpoint] = []
    now = NOW
    for number, pause in enumerate(pauses, 1):
        now += timedelta(seconds=pause)
        new = checkpoint(number, taken_at=now, created_at=now)
        every.append(new)
        kept.append(new)
        going = plan_retention(kept, chosen, now).going
        kept = [item for item in kept if item not in going]
        if chosen.max_age is None:
            at_once: set[Ref] = {item.ref for item in plan_retention(every, chosen, now).going}
            assert [item.ref for item in kept] == [item.ref for item in every if item.ref not in at_once]
