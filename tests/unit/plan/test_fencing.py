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
    age_s: float,
    *,
    fenced: bool = False,
    claim: Claim | None = None,
    fencing: Fencing = Fencing.STRICT,
    epoch: int = 4,
) -> FenceAction:
    return fence_action(
        fencing,
        node="n1",
        epoch=epoch,
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
        # The workload was deleted and made anew: its epochs have begun again.
        (0.1, True, Claim("n2", 1), FenceAction.KILL),
        (0.1, False, Claim("n2", 1), FenceAction.KILL),
        (0.1, True, Claim("", 0), FenceAction.RUN),
        (0.1, False, Claim("n1", 1), FenceAction.RUN),
    ],
)
def test_strict_fencing(age_s: float, fenced: bool, claim: Claim | None, expected: FenceAction) -> None:
    assert act(age_s, fenced=fenced, claim=claim) is expected


@pytest.mark.parametrize(
    ("age_s", "fenced", "claim", "expected"),
    [
        (0.5, False, None, FenceAction.RUN),
        (3.0, False, None, FenceAction.FREEZE),
        (0.1, False, Claim("n2", 1), FenceAction.KILL),
        (0.1, True, Claim("n2", 1), FenceAction.KILL),
        (0.1, True, Claim("", 0), FenceAction.RUN),
        (0.1, True, Claim("n1", 1), FenceAction.RUN),
        (0.1, False, Claim("", 3), FenceAction.RUN),
        (0.1, True, Claim("", 3), FenceAction.KILL),
    ],
)
def test_a_copy_that_never_had_the_claim_is_fenced_like_any_other(
    age_s: float, fenced: bool, claim: Claim | None, expected: FenceAction
) -> None:
    assert act(age_s, fenced=fenced, claim=claim, epoch=0) is expected


def test_without_fencing_it_runs_on_until_another_has_the_claim() -> None:
    assert act(99, fencing=Fencing.NONE) is FenceAction.RUN
    assert act(99, fencing=Fencing.NONE, claim=Claim("n2", 5)) is FenceAction.KILL


claims = st.none() | st.builds(Claim, st.sampled_from(["", "n1", "n2"]), st.integers(0, 8))


@given(st.floats(0, 20), st.booleans(), claims, st.integers(0, 8))
def test_a_strict_copy_never_runs_past_the_limit_nor_against_the_claim_of_another(
    age_s: float, fenced: bool, claim: Claim | None, epoch: int
) -> None:
    if act(age_s, fenced=fenced, claim=claim, epoch=epoch) is FenceAction.RUN:
        assert age_s < FENCE_AFTER.total_seconds()
        assert claim is None or claim.node in ("", "n1")
        assert claim is None or epoch == 0 or claim.epoch <= epoch
        assert claim is not None or not fenced


@given(st.floats(0, 20), st.booleans(), st.integers(0, 8), st.sampled_from(Fencing))
def test_no_copy_is_ended_while_the_claim_is_its_own_or_unknown(
    age_s: float, fenced: bool, epoch: int, fencing: Fencing
) -> None:
    for claim in (None, Claim("n1", epoch)):
        assert act(age_s, fenced=fenced, claim=claim, epoch=epoch, fencing=fencing) is not FenceAction.KILL
