"""What leaves the command: columns, YAML, and the formats of -o."""

from __future__ import annotations

import io

import pytest

from swarmkeep.cli.printing import Columns, Form, Format, cell_text, custom_columns, to_yaml, without_managed_fields
from swarmkeep.errors import InvalidObject


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_are_as_wide_as_their_longest_cell_and_three() -> None:
    out = io.StringIO()
    Columns(["NAME", "PHASE"], out=out).print([["redis.1", "Running"], ["r", ""]])
    assert out.getvalue() == "NAME      PHASE\nredis.1   Running\nr\n"


def test_later_rows_keep_the_columns_of_the_first() -> None:
    out = io.StringIO()
    columns = Columns(["NAME", "PHASE"], out=out)
    columns.print([["redis.1", "Running"]])
    columns.print([["r", "Lost"]])
    assert out.getvalue().splitlines()[2] == "r         Lost"


def test_without_headers_only_rows_count() -> None:
    out = io.StringIO()
    Columns(["A LONG HEADER", "B"], show_headers=False, out=out).print([["x", "y"]])
    assert out.getvalue() == "x   y\n"


def test_a_terminal_gets_colours_unless_the_user_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    Columns(["PHASE"], out=out).print([["Running"], ["Lost"], ["Other"]])
    assert out.getvalue() == "\033[1mPHASE\033[0m\n\033[32mRunning\033[0m\n\033[31mLost\033[0m\nOther\n"
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    Columns(["PHASE"], out=out).print([["Running"]])
    assert out.getvalue() == "PHASE\nRunning\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (3, "3"), (0.25, "0.25"), ("a\nb\x1b[31m", "a b [31m"), ([1, "a"], '[1,"a"]')],
)
def test_cells_are_one_line_without_control_characters(value: object, text: str) -> None:
    assert cell_text(value) == text


@pytest.mark.parametrize(
    ("text", "form", "argument"),
    [
        (None, Form.TABLE, ""),
        ("wide", Form.WIDE, ""),
        ("yaml", Form.YAML, ""),
        ("jsonpath={.a}", Form.JSONPATH, "{.a}"),
        ("custom-columns=A:.a=b", Form.COLUMNS, "A:.a=b"),
    ],
)
def test_formats(text: str | None, form: Form, argument: str) -> None:
    assert Format.parse(text) == Format(form, argument)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("xml", "there is no output format 'xml': allowed are wide, yaml"),
        ("jsonpath", "needs a template"),
        ("yaml=x", "takes nothing: write -o yaml$"),
    ],
)
def test_impossible_formats_are_refused_with_what_there_is(text: str, complaint: str) -> None:
    with pytest.raises(InvalidObject, match=complaint):
        Format.parse(text)


def test_yaml_quotes_what_would_be_read_as_something_else() -> None:
    text = to_yaml({"b": "2026-01-31T12:00:00Z", "a": "yes", "c": ["x" * 200], "d": "1"})
    assert text == 'a: "yes"\nb: "2026-01-31T12:00:00Z"\nc:\n- ' + "x" * 200 + '\nd: "1"\n'


def test_managed_fields_are_left_out() -> None:
    assert without_managed_fields({"metadata": {"name": "a", "managedFields": []}}) == {"metadata": {"name": "a"}}


def test_custom_columns_need_header_and_path() -> None:
    headers, paths = custom_columns("NAME:.metadata.name,NODE:.node")
    assert (headers, paths[0]({"metadata": {"name": "x"}})) == (["NAME", "NODE"], ["x"])
    with pytest.raises(InvalidObject, match="HEADER:PATH"):
        custom_columns("NAME")
