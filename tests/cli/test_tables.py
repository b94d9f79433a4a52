"""Tables where there is little room: what people copy stays in one piece."""

import pytest

from headgate.cli.columns import fitted, lines_of
from headgate.cli.tables import show, table

PERMIT = "6d103939-f683-4e7d-81f3-6703b22ef6e6"
JOB = "job/acme/policy-engine/5dc89d8af7ed"


def shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, *rows: str
) -> list[str]:
    """The lines of a table of permits, of as many columns as there are."""
    monkeypatch.setenv("COLUMNS", str(width))
    permits = table("Permit", "Holds", "Workflow", "Since", whole=("Permit", "Workflow"))
    for holds in rows:
        permits.add_row(PERMIT, holds, JOB, "13 min")
    show(permits)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_with_room_for_all_a_row_is_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, line = shown(capsys, monkeypatch, 120, "1 scan")
    assert line == f"{PERMIT}  1 scan  {JOB}  13 min"


def test_with_less_room_other_columns_are_broken_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, second = shown(capsys, monkeypatch, 92, "1 scan, 20 tokens")
    assert first.startswith(f"{PERMIT}  1 scan,") and JOB in first
    assert second.split() == ["20", "tokens"]


@pytest.mark.parametrize(("width", "lines"), [(80, [f"{PERMIT}  {JOB}"]), (40, [PERMIT, JOB])])
def test_with_little_room_what_is_copied_stands_above_the_rest(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    lines: list[str],
) -> None:
    found = shown(capsys, monkeypatch, width, "1 scan", "20 tokens")
    assert found == [
        "Permit  Workflow",
        "  Holds      Since",
        *lines,
        "  1 scan     13 min",
        *lines,
        "  20 tokens  13 min",
    ]


def test_what_is_longer_than_a_line_is_in_one_piece_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shown(capsys, monkeypatch, 30, "1 scan")
    assert PERMIT in found and JOB in found


def test_the_widest_give_way_first_and_no_word_is_broken() -> None:
    columns = [["Id", "abcdef"], ["Is", "one two three"], ["Reason", "x"]]
    assert fitted(columns, [0], 29) == [6, 13, 6]
    assert fitted(columns, [0], 25) == [6, 9, 6]
    assert fitted(columns, [0], 21) == [6, 5, 6]
    assert fitted(columns, [0], 20) is None
    assert fitted(columns, [0], 16, at_least=1) == [6, 3, 3]
    assert fitted([["Opens after", "8 failures"]], (), 10) == [10]
    assert fitted([["Opens after", "8 failures"]], (), 9) is None


def test_ids_stand_beside_each_other_where_there_is_room() -> None:
    assert lines_of(["a", "", "b"], 4) == ["a  b"]
    assert lines_of(["a", "b"], 3) == ["a", "b"]
    assert lines_of(["", ""], 80) == []
