"""What `swarmkeep import` makes of the answer."""

from typing import Any

import pytest

from swarmkeep.cli.import_ import tell

ROW = {"workload": "default/redis.1", "versions": 3, "newest": 7, "made": 2}


@pytest.mark.parametrize(
    ("answer", "code", "out", "err"),
    [
        ({}, 0, "3 versions found, 1 known already, 2 were made", ""),
        ({"dryRun": True}, 0, "2 would be made", ""),
        ({"failed": 1, "problems": [{"version": "v", "problem": "bad\x1b"}]}, 1, "2 were made", "error: v: bad"),
        ({"trouble": "no answer"}, 3, "2 were made", "ended before its time: no answer"),
    ],
)
def test_the_answer_is_told_and_the_exit_code_says_whether_all_went_well(
    answer: dict[str, Any], code: int, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell({"found": 3, "known": 1, "made": 2, "workloads": [ROW], **answer}) == code
    shown = capsys.readouterr()
    assert out in shown.out
    assert "default/redis.1   3          7" in shown.out
    assert err in shown.err
    assert "\x1b" not in shown.err
