from datetime import UTC, datetime, timedelta

import pytest

from swarmkeep.apiserver.ages import age, human_duration

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (600, "10m"),
        (630, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (3600 * 7 + 300, "7h5m"),
        (3600 * 8 + 300, "8h"),
        (3600 * 47, "47h"),
        (3600 * 48, "2d"),
        (3600 * 53, "2d5h"),
        (86_400 * 8, "8d"),
        (86_400 * 729, "729d"),
        (86_400 * 730, "2y"),
        (86_400 * 800, "2y70d"),
        (86_400 * 365 * 9, "9y"),
    ],
)
def test_lengths_are_shown_as_kubectl_does(seconds: float, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text


def test_an_age_is_the_time_since() -> None:
    assert age("2026-11-01T11:59:15Z", NOW) == "45s"
    assert age("2026-11-01T11:59:15.250000Z", NOW) == "44s"


@pytest.mark.parametrize("moment", [None, "", "yesterday", 5])
def test_the_age_of_no_time_is_unknown(moment: object) -> None:
    assert age(moment, NOW) == "<unknown>"
