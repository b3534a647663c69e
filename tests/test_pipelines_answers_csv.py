"""Rows of answers: read back by the csv module, and no formula for a spreadsheet."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.answers.answer import Answer, Match, RankedLabel
from pipelines.reports.answers_csv import COLUMNS, CsvAnswers, defuse

BEST = Match("old-3", 7, "Old mill", 0, 0.87654321, 31, True, 1.5)
KNOWN = Answer(
    "photos/a.jpg",
    7,
    "Old mill",
    0.912345678,
    guess=7,
    top=(RankedLabel(7, "Old mill", 0.9, 2.0), RankedLabel(8, "New mill", 0.05, 1.0)),
    neighbors=(BEST,),
    best=BEST,
    details={"latitude": "-43.5", "longitude": "11.25"},
    penalty=0.25,
    explanation="Two sentences. They are here.",
)


def write(*answers: Answer) -> str:
    stream = io.StringIO(newline="")
    table = CsvAnswers(stream)
    for answer in answers:
        table.write(answer)
    return stream.getvalue()


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_a_row_says_what_the_answer_says() -> None:
    text = write(KNOWN)
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert text.endswith("\r\n") and text.count("\r\n") == 2
    assert read(text) == [
        {
            **{"image": "photos/a.jpg", "label": "7", "name": "Old mill"},
            **{"confidence": "0.912346", "reason": "", "latitude": "-43.5"},
            **{"longitude": "11.25", "second": "New mill", "second_confidence": "0.05"},
            **{"neighbor": "old-3", "similarity": "0.876543", "inliers": "31"},
            **{"penalty": "0.25", "error": "", "explanation": KNOWN.explanation},
        }
    ]


def test_what_is_not_known_is_empty() -> None:
    unread = Answer("a.jpg", error="a.jpg: 0 bytes; copy it again (empty)")
    refused = Answer("b.jpg", confidence=0.0, reason="nothing is near", guess=7)
    rows = read(write(unread, refused))
    assert {name for name, value in rows[0].items() if value} == {"image", "error"}
    assert (rows[1]["label"], rows[1]["name"], rows[1]["confidence"]) == ("", "", "0.0")
    assert rows[1]["reason"] == "nothing is near"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "\uff1d"])
def test_no_text_is_a_formula_and_numbers_stay_numbers(start: str) -> None:
    hostile = f"{start}HYPERLINK(\"http://x\",'a')"
    row = read(write(Answer(hostile, 1, hostile, 0.5, details={"latitude": "-1"})))[0]
    for column in ("image", "name"):
        assert row[column] == f"'{hostile}"
    assert row["latitude"] == "-1.0"


@given(st.text())
def test_any_name_is_read_back(name: str) -> None:
    row = read(write(Answer(name, 1, name, 0.5)))[0]
    assert row["image"] == row["name"] == defuse(name)
    assert defuse(name).removeprefix("'") in (name, name.removeprefix("'"))


def test_a_name_that_is_no_utf8_is_written_by_its_bytes() -> None:
    text = write(Answer('caf\udce9,\n".jpg', reason="none"))
    assert read(text)[0]["image"] == 'caf\\xe9,\n".jpg'
    text.encode("utf-8")
