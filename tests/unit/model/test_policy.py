"""What a policy's retention says once it is read."""

from datetime import timedelta

import pytest

from swarmkeep.errors import InvalidObject
from swarmkeep.model.policy import PlacementRules, RetentionRules, Strategy

from ..objects import policy


def test_without_a_word_the_newest_five_stay() -> None:
    assert policy().retention == RetentionRules(5)
    assert str(policy().retention) == "keepLast 5"


def test_all_rules_are_read_and_said_again_as_they_were_written() -> None:
    raw = {"keepLast": 3, "keepHourly": 24, "keepDaily": 7, "keepWeekly": 4, "maxAge": "30d"}
    rules = policy(retention=raw).retention
    assert rules == RetentionRules(3, 24, 7, 4, timedelta(days=30))
    assert str(rules) == "keepLast 3, keepHourly 24, keepDaily 7, keepWeekly 4, maxAge 30d"


@pytest.mark.parametrize(("limit", "problem"), [("0s", "leave it out"), ("0.0001ms", "leave it out"), ("30", "units")])
def test_a_limit_that_says_nothing_is_refused(limit: str, problem: str) -> None:
    with pytest.raises(InvalidObject, match=problem):
        policy(retention={"maxAge": limit})


def test_a_plain_container_goes_where_there_is_most_room_unless_the_policy_says_otherwise() -> None:
    assert policy().placement == PlacementRules((), Strategy.SPREAD)
    raw = {"constraints": ["node.role==worker"], "strategy": "BinPack"}
    assert policy(placement=raw).placement == PlacementRules(("node.role==worker",), Strategy.BIN_PACK)
