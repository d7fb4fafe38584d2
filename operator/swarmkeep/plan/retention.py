"""Which versions of a workload stay, by which rule, and which go. Pure; used by plan/pruning.py.

A version stays if any keep rule keeps it and it is younger than `max_age`; the newest good one, pinned ones and those
that something needs stay in any case. The rules count only periods that have a version, so time alone lets nothing go:
that does only `max_age`. Letting go of versions in the order of `Retention.going`, and stopping anywhere, leaves a list
of which the same versions stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import RetentionRules
from swarmkeep.model.quantity import format_duration

FAILURES_KEPT = 3
"""Failed tries that stay listed for each workload, so that one can read why."""


class Fate(StrEnum):
    """What becomes of a version."""

    KEEP = "keep"
    REMOVE = "remove"
    REMOVING = "removing"
    """Its removal has begun: nothing is decided about it any more."""
    TAKING = "taking"
    """It is not finished: nothing is decided about it yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one version, and why."""

    checkpoint: Checkpoint
    fate: Fate
    why: str
    """The rules that keep it, or why none does."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What becomes of all versions of a workload."""

    verdicts: tuple[Verdict, ...]
    """The newest first; after those that have a number, those that have none."""
    going: tuple[Checkpoint, ...]
    """In the order in which they should be let go, the oldest first."""
    wake_at: datetime | None
    """When the next version becomes too old; None when none will."""


_TRIES = (CheckpointPhase.FAILED, CheckpointPhase.TRIED)
_PERIODS: Mapping[str, Callable[[datetime], str]] = {
    "keepHourly": lambda moment: moment.strftime("%Y-%m-%dT%H"),
    "keepDaily": lambda moment: moment.strftime("%Y-%m-%d"),
    "keepWeekly": lambda moment: moment.strftime("%G-W%V"),
}


def plan_retention(
    checkpoints: Iterable[Checkpoint],
    rules: RetentionRules,
    now: datetime,
    needed: Mapping[int, str] = MappingProxyType({}),
) -> Retention:
    """What becomes of the versions of one workload now.

    `needed`: numbers of versions that must stay, with what they are needed for. Whatever is still being made or already
    being deleted is not touched and counts for no rule. A damaged version counts for none either: it goes once enough
    good ones are newer. Of failed tries the newest few stay.
    """
    versions = sorted(checkpoints, key=lambda item: (item.version or 0, _created(item), item.ref), reverse=True)
    stored = [item for item in versions if item.is_stored]
    good = [item for item in stored if item.is_good]
    failed = [item for item in versions if item.phase in _TRIES and not item.deleting]
    failed.sort(key=lambda item: (_created(item), item.ref), reverse=True)
    ruled = _kept_by_rules(good, rules) | _kept_though_damaged(stored, good, rules)
    always = _always_kept(stored, good, failed, needed)
    verdicts: list[Verdict] = []
    expiries: list[datetime] = []
    for item in versions:
        names, reasons = ruled.get(item.ref, []), always.get(item.ref, [])
        expires_at = _expiry(item, rules.max_age)
        is_expired = expires_at is not None and now >= expires_at
        fate, why = _judge(item, reasons, [] if is_expired else names)
        if fate is Fate.REMOVE and is_expired and rules.max_age is not None and item.is_stored:
            why = f"older than maxAge {format_duration(rules.max_age)}"
        if fate is Fate.KEEP and not reasons and expires_at is not None:
            expiries.append(expires_at)
        verdicts.append(Verdict(item, fate, why))
    gone = {verdict.checkpoint.ref for verdict in verdicts if verdict.fate is Fate.REMOVE}
    going = [item for item in (*reversed(stored), *reversed(failed)) if item.ref in gone]
    return Retention(tuple(verdicts), tuple(going), min(expiries, default=None))


def _judge(item: Checkpoint, always: Sequence[str], rule_names: Sequence[str]) -> tuple[Fate, str]:
    if item.deleting or item.phase is CheckpointPhase.DELETING:
        return Fate.REMOVING, "its removal has begun"
    if always or rule_names:
        return Fate.KEEP, ", ".join((*always, *rule_names))
    if item.phase in _TRIES:
        return Fate.REMOVE, f"only the last {FAILURES_KEPT} failures stay"
    if not item.is_stored:
        return Fate.TAKING, "it is not finished"
    return Fate.REMOVE, "it is damaged, and enough good ones are newer" if item.is_damaged else "no rule keeps it"


def _always_kept(
    stored: Sequence[Checkpoint], good: Sequence[Checkpoint], failed: Sequence[Checkpoint], needed: Mapping[int, str]
) -> _Reasons:
    """What stays at any age, with why. All lists have the newest first."""
    kept: _Reasons = {}
    # Where none is good, the newest is the least bad: some of its files may be all that is left.
    for item in good[:1] or stored[:1]:
        kept.setdefault(item.ref, []).append("newest")
    for item in failed[:FAILURES_KEPT]:
        kept.setdefault(item.ref, []).append(f"one of the last {FAILURES_KEPT} failures")
    for item in (*stored, *failed):
        if item.pinned:
            kept.setdefault(item.ref, []).append("pinned")
        if item.version is not None and item.version in needed:
            kept.setdefault(item.ref, []).append(needed[item.version])
    return kept


def _kept_by_rules(good: Sequence[Checkpoint], rules: RetentionRules) -> _Reasons:
    """What the keep rules keep whatever its age, with their names. `good` has the newest first."""
    kept: _Reasons = {}
    # By number: these are what a restore tries one after the other, even if a node's clock was wrong.
    for item in good[: max(1, rules.keep_last)]:
        kept.setdefault(item.ref, []).append("keepLast")
    # By time: so whatever is too old comes after whatever is not, and its going changes no count.
    timed = sorted(
        ((moment, item) for item in good if (moment := _time(item)) is not None),
        key=lambda pair: (pair[0], pair[1].version or 0, pair[1].ref),
        reverse=True,
    )
    counts = {"keepHourly": rules.keep_hourly, "keepDaily": rules.keep_daily, "keepWeekly": rules.keep_weekly}
    for name, count in counts.items():
        seen: set[str] = set()
        for moment, item in timed:
            if len(seen) == count:
                break
            period = _PERIODS[name](moment)
            if period not in seen:
                seen.add(period)
                kept.setdefault(item.ref, []).append(f"{name} {period}")
    return kept


def _kept_though_damaged(stored: Sequence[Checkpoint], good: Sequence[Checkpoint], rules: RetentionRules) -> _Reasons:
    """Damaged versions that stay until `keepLast` good ones are newer."""
    count = max(1, rules.keep_last)
    oldest = good[count - 1].version or 0 if len(good) >= count else 0
    why = "damaged, but few good ones are newer"
    return {item.ref: [why] for item in stored if item.is_damaged and (item.version or 0) > oldest}


def _expiry(item: Checkpoint, max_age: timedelta | None) -> datetime | None:
    moment = _time(item)
    if max_age is None or moment is None:
        return None
    try:
        return moment + max_age
    except OverflowError:
        return None


def _time(item: Checkpoint) -> datetime | None:
    """The instant that it holds, in UTC."""
    moment = item.taken_at or item.created_at
    return moment.astimezone(UTC) if moment is not None else None


def _created(item: Checkpoint) -> str:
    return item.created_at.isoformat() if item.created_at else ""


_Reasons = dict[Ref, list[str]]
