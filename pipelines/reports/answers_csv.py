"""Write answers as CSV (RFC 4180), a row a photo, that a spreadsheet can open without harm."""

import csv
from typing import TextIO

from embed.printable import encodable
from pipelines.answers.answer import Answer

COLUMNS = (
    *("image", "label", "name", "confidence", "reason", "latitude", "longitude"),
    *("second", "second_confidence", "neighbor", "similarity", "inliers", "penalty"),
    *("error", "explanation"),
)
# What a spreadsheet takes for the begin of a formula, wide forms included; tab and line breaks
# before one are skipped.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")


class CsvAnswers:
    """Writes rows to a stream, the names of the columns first."""

    def __init__(self, stream: TextIO) -> None:
        """Write the header."""
        self.stream = stream
        self.writer = csv.DictWriter(stream, COLUMNS, lineterminator="\r\n")
        self.writer.writeheader()

    def write(self, answer: Answer) -> None:
        """Write the row of an answer, which is there when this returns."""
        self.writer.writerow(make_row(answer))
        self.stream.flush()


def make_row(answer: Answer) -> dict[str, str]:
    """Return the fields of an answer by column, empty where there is nothing to say."""
    best, second = answer.best, answer.top[1] if len(answer.top) > 1 else None
    texts = {
        "image": answer.image,
        "name": answer.name or "",
        "reason": answer.reason,
        "second": second.name if second else "",
        "neighbor": best.image_id if best else "",
        "error": answer.error,
        "explanation": answer.explanation,
    }
    known = not answer.error
    numbers = {
        "label": answer.label,
        "confidence": round(answer.confidence, 6) if known else None,
        "latitude": answer.latitude,
        "longitude": answer.longitude,
        "second_confidence": _round(second.probability if second else None),
        "similarity": _round(best.similarity if best else None),
        "inliers": best.inliers if best else None,
        "penalty": round(answer.penalty, 6) if known else None,
    }
    fields = {name: "" if value is None else str(value) for name, value in numbers.items()}
    return fields | {name: defuse(text) for name, text in texts.items()}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def defuse(text: str) -> str:
    r"""Return text that no spreadsheet computes: an apostrophe stands before what would begin one.

    >>> defuse("=1+1"), defuse("Old mill"), defuse("-")
    ("'=1+1", 'Old mill', "'-")
    """
    text = encodable(text)
    return f"'{text}" if text.startswith(FORMULA) else text
