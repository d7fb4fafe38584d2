"""The pause after failures."""

from datetime import timedelta

from swarmkeep.plan.backoff import FIRST, LONGEST, backoff


def test_it_doubles_up_to_a_limit() -> None:
    assert backoff(0) == timedelta()
    assert [backoff(count) for count in (1, 2, 3)] == [FIRST, FIRST * 2, FIRST * 4]
    assert backoff(100) == backoff(10**9) == LONGEST
