"""Fencing: frozen before anybody else may start a copy, thawed only when the claim is known to be ours."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.policy import Fencing
from swarmkeep.model.workload import Claim
from swarmkeep.plan.fencing import FenceAction, fence_action

FENCE_AFTER = timedelta(seconds=3)


def act(
    age_s: float, *, fenced: bool = False, claim: Claim | None = None, fencing: Fencing = Fencing.STRICT
) -> FenceAction:
    return fence_action(
        fencing,
        node="n1",
        epoch=4,
        lease_age=timedelta(seconds=age_s),
        fence_after=FENCE_AFTER,
        fenced=fenced,
        claim=claim,
    )


@pytest.mark.parametrize(
    ("age_s", "fenced", "claim", "expected"),
    [
        (0.5, False, None, FenceAction.RUN),
        (3.0, False, None, FenceAction.FREEZE),
        (9.0, True, None, FenceAction.KEEP_FROZEN),
        (0.1, True, None, FenceAction.KEEP_FROZEN),
        (0.1, True, Claim("n1", 4), FenceAction.RUN),
        (0.1, True, Claim("n2", 5), FenceAction.KILL),
        (0.1, False, Claim("n2", 5), FenceAction.KILL),
        (0.1, True, Claim("n1", 5), FenceAction.KILL),
        (0.1, True, Claim("", 5), FenceAction.KILL),
        (0.1, True, Claim("", 4), FenceAction.RUN),
    ],
)
def test_strict_fencing(age_s: float, fenced: bool, claim: Claim | None, expected: FenceAction) -> None:
    assert act(age_s, fenced=fenced, claim=claim) is expected


def test_without_fencing_it_runs_on_until_another_has_the_claim() -> None:
    assert act(99, fencing=Fencing.NONE) is FenceAction.RUN
    assert act(99, fencing=Fencing.NONE, claim=Claim("n2", 5)) is FenceAction.KILL


@given(
    st.floats(0, 20),
    st.booleans(),
    st.none() | st.builds(Claim, st.sampled_from(["", "n1", "n2"]), st.integers(1, 8)),
)
def test_a_strict_copy_never_runs_past_the_limit_nor_against_a_newer_claim(
    age_s: float, fenced: bool, claim: Claim | None
) -> None:
    if act(age_s, fenced=fenced, claim=claim) is FenceAction.RUN:
        assert age_s < FENCE_AFTER.total_seconds()
        assert claim is None or claim.epoch <= 4
        assert claim is None or claim.node in ("", "n1") or claim.epoch < 4
        assert claim is not None or not fenced
