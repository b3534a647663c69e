"""Say how the tables of a dataset do not go together. Opens no image."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from classify_head.submission import IGNORED, Solution
from embed.printable import printable
from embed.table_file import name_rows

from .image_table import ImageTable

QUERY = "an image is either a query or known: keep one of the rows"
UNKNOWN = "a photo either shows a landmark or none: keep one of the rows"
# Tables that may not share images, and why. train, index and validation may: the database may hold
# what was trained on, and a photo that judges the training is asked as if it were not in it.
APART = {
    **{("test", name): QUERY for name in ("train", "index", "validation", "non_landmark")},
    ("validation", "train"): "a model is not validated by what it was trained on: keep one of the "
    "rows",
    **{("non_landmark", name): UNKNOWN for name in ("train", "index", "validation")},
}


def find_shared(tables: Mapping[str, ImageTable]) -> list[str]:
    """Say which images are in two tables that may not share any."""
    ids = {name: set(table.ids) for name, table in tables.items()}
    problems = []
    for (name, other), reason in APART.items():
        both = ids[name] & ids[other] if name in ids and other in ids else set()
        if not both:
            continue
        paths = [tables[each].path for each in (name, other)]
        first = next(image_id for image_id in tables[name].ids if image_id in both)
        places = [
            f"{name_rows(path, [tables[each].ids.index(first)])} of {path.name}"
            for each, path in zip((name, other), paths, strict=True)
        ]
        problems.append(
            f"{len(both)} images of {paths[0]} are in {paths[1].name}, too, the first is "
            f"'{printable(first)}' ({', '.join(places)}); {reason}"
        )
    return problems


def judge_solution(solution: Solution, path: Path, test: ImageTable) -> list[str]:
    """Say what is wrong with a solution, read from path, beside the queries."""
    queries, answered = set(test.ids), set(solution.query_ids)
    problems = []
    lacking = [row for row, query_id in enumerate(test.ids) if query_id not in answered]
    if lacking:
        problems.append(
            f"{path} lacks {len(lacking)} ids of {test.path.name}, the first is "
            f"'{printable(test.ids[lacking[0]])}' ({name_rows(test.path, lacking)} of "
            f"{test.path.name}); add a row for each, with empty landmarks for a photo of none"
        )
    scored = np.array(solution.usages) != IGNORED
    more = [
        r for r, query_id in enumerate(solution.query_ids) if scored[r] and query_id not in queries
    ]
    if more:
        problems.append(
            f"{path}, {name_rows(path, more)}: {len(more)} ids are not in {test.path.name}, the "
            f"first is '{printable(solution.query_ids[more[0]])}'; add them there, take the rows "
            f"out, or set their Usage to {IGNORED}"
        )
    return problems
