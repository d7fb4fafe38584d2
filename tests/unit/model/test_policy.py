"""What a policy says once it is read."""

from datetime import timedelta

import pytest

from swarmkeep.errors import InvalidObject
from swarmkeep.model.policy import Hook, Hooks, OnFailure, PlacementRules, RetentionRules, Strategy, Tcp

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


def test_without_a_word_no_volume_is_taken_along_and_no_hook_is_run() -> None:
    assert policy().volumes == ()
    assert not policy().hooks


def test_hooks_are_read_in_their_order_with_their_defaults() -> None:
    before = [{"exec": ["redis-cli", "SAVE"]}, {"exec": ["sync"], "timeout": "1m", "onFailure": "Continue"}]
    hooks = policy(checkpoint={"hooks": {"before": before, "after": [{"exec": ["true"]}]}}).hooks
    assert hooks == Hooks(
        (
            Hook(("redis-cli", "SAVE"), timedelta(seconds=5), OnFailure.FAIL),
            Hook(("sync",), timedelta(minutes=1), OnFailure.CONTINUE),
        ),
        (Hook(("true",)),),
    )


@pytest.mark.parametrize("timeout", ["6m", "0.0001ms"])
def test_a_hook_that_may_take_too_long_or_no_time_is_refused(timeout: str) -> None:
    with pytest.raises(InvalidObject, match=r"hooks\.after\[0\]\.timeout"):
        policy(checkpoint={"hooks": {"after": [{"exec": ["true"], "timeout": timeout}]}})


@pytest.mark.parametrize("path", ["/", "//", "/srv/", "/srv/../etc", "/srv//x"])
def test_a_folder_has_one_spelling_and_is_not_the_whole_node(path: str) -> None:
    with pytest.raises(InvalidObject, match="volumes"):
        policy(checkpoint={"volumes": ["data", path]})


def test_connections_cannot_go_on_for_tasks_whose_address_changes() -> None:
    with pytest.raises(InvalidObject, match="every task of a service gets another address"):
        policy(checkpoint={"tcp": "Established"})
    assert policy(selector={"container": "db"}, checkpoint={"tcp": "Established"}).tcp is Tcp.ESTABLISHED
