"""Which versions lead to what runs now, after any row of rollbacks: held against a tree of versions."""

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.line import Branch, Line, parse_line


def test_without_rollbacks_every_version_is_of_the_line() -> None:
    assert all(Line().has(number) for number in (1, 2, 1000))
    assert Line().top == 0
    assert not Line().begins_fresh


def test_a_rollback_leaves_what_came_after_behind_and_nothing_else() -> None:
    line = Line().back_to(12, 15)
    assert [number for number in range(10, 18) if line.has(number)] == [10, 11, 12, 16, 17]
    assert line.wire() == [{"above": 12, "upTo": 15}]
    assert line.top == 15


def test_a_fresh_start_on_purpose_leaves_everything_behind() -> None:
    line = Line().back_to(0, 3)
    assert line.begins_fresh
    assert [number for number in range(1, 6) if line.has(number)] == [4, 5]


def test_going_back_to_the_newest_changes_nothing() -> None:
    line = Line().back_to(2, 5)
    assert line.back_to(7, 7) == line


def test_going_back_to_a_version_that_was_left_behind_takes_that_rollback_back() -> None:
    line_of_5 = Line()
    assert [number for number in range(1, 9) if line_of_5.back_to(5, 7).has(number)] == [1, 2, 3, 4, 5, 8]


def test_the_line_of_a_version_counts_only_if_it_was_taken_after_the_last_rollback_that_the_api_knows() -> None:
    known = Line((Branch(14, 17),))
    older, newer = Line((Branch(12, 15),)), Line((Branch(18, 20),))
    assert known.or_of_version(17, older) == known
    assert known.or_of_version(21, newer) == newer
    assert Line().or_of_version(4, newer) == newer


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), max_size=12))
def test_it_tells_the_ancestors_of_what_runs_whatever_was_gone_back_to(steps: list[tuple[int, int]]) -> None:
    """Each step takes some versions and then goes back to one of all there are, or to nothing."""
    parents: dict[int, int] = {}
    taken_on: dict[int, Line] = {0: Line()}
    line, current, highest = Line(), 0, 0
    for count, choice in steps:
        for _ in range(count):
            highest += 1
            parents[highest] = current
            taken_on[highest] = line
            current = highest
        target = choice % (highest + 1)
        line, current = taken_on[target].back_to(target, highest), target
        ancestors = set()
        walk = current
        while walk:
            ancestors.add(walk)
            walk = parents[walk]
        assert {number for number in range(1, highest + 1) if line.has(number)} == ancestors
        assert line.has(highest + 1)
        assert parse_line(line.wire()) == line
