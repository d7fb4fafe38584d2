"""Comparing: exit codes, and a program of the user's choice."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmkeep.cli.diff import compare

SAME = ("a", "x: 1\n", "x: 1\n")
CHANGED = ("b", "x: 1\ny: 1\n", "x: 1\ny: 2\n")


def test_no_difference_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare([SAME]) == 0
    assert capsys.readouterr().out == ""


def test_a_difference_is_shown_as_a_patch(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare([SAME, CHANGED]) == 1
    assert capsys.readouterr().out == "--- live/b\n+++ merged/b\n@@ -1,2 +1,2 @@\n x: 1\n-y: 1\n+y: 2\n"


def test_another_program_may_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECTL_EXTERNAL_DIFF", "diff -r -U0")
    assert compare([SAME, CHANGED]) == 1
    assert "+y: 2" in capfd.readouterr().out


def test_a_program_that_is_not_there_is_trouble(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECTL_EXTERNAL_DIFF", "/does/not/exist")
    assert compare([CHANGED]) == 2
    assert "cannot run /does/not/exist" in capsys.readouterr().err
