"""Lay answers and their evidence out as tables, a row a query or a row a neighbour."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from classify_head.evidence import Evidence
from classify_head.label_scores import Choice
from index.neighbors import Neighbors
from pipelines.answers.answer import Answer
from pipelines.answers.retriever import Retriever

BOX = ("left", "top", "right", "bottom")  # pixels of the upright original photo


def predictions_table(
    answers: Sequence[Answer],
    known: Mapping[str, NDArray[np.number]],
    steps: Mapping[str, Choice],
    failures: Mapping[str, tuple[str, str]],
) -> pa.Table:
    """Return a row a query: the answer, its evidence, and what each step alone would answer.

    Args:
        answers: [Q].
        known: by name, what is known of each guess [Q]; not read where there is none.
        steps: by name, of the same queries.
        failures: reason and message of the queries that could not be read, by their id.
    """
    rows = [
        {
            "query_id": answer.image,
            "landmark_id": answer.label,
            "guess": answer.guess,
            "confidence": answer.confidence,
            "reason": answer.reason,
            **{n: None if answer.guess is None else float(of[row]) for n, of in known.items()},
            **{f"{name}_label": int(step.labels[row]) for name, step in steps.items()},
            **{f"{name}_confidence": float(step.confidences[row]) for name, step in steps.items()},
        }
        for row, answer in enumerate(answers)
    ]
    rows += [
        {
            "query_id": image_id,
            "confidence": 0.0,
            "reason": message,
            **{f"{name}_label": -1 for name in steps},
            **{f"{name}_confidence": 0.0 for name in steps},
        }
        for image_id, (_, message) in failures.items()
    ]
    schema = pa.schema(
        [("query_id", pa.string()), ("landmark_id", pa.int64()), ("guess", pa.int64())]
        + [("confidence", pa.float64()), ("reason", pa.string())]
        + [(name, pa.float64()) for name in known]
        + [(f"{name}_label", pa.int64()) for name in steps]
        + [(f"{name}_confidence", pa.float64()) for name in steps]
    )
    return pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["query_id"])), schema)


def further_table(answers: Sequence[Answer]) -> pa.Table:
    """Return a row a further answer: query_id, its place from 1, what it is, where, and why."""
    rows = [
        {
            "query_id": answer.image,
            "place": place,
            "landmark_id": further.label,
            "confidence": further.confidence,
            **dict(zip(BOX, further.box, strict=True)),
            "image_id": further.image_id,
            "inliers": further.inliers,
        }
        for answer in sorted(answers, key=lambda answer: answer.image)
        for place, further in enumerate(answer.further, start=1)
    ]
    schema = pa.schema(
        {
            "query_id": pa.string(),
            **dict.fromkeys(("place", "landmark_id"), pa.int64()),
            "confidence": pa.float64(),
            **dict.fromkeys(BOX, pa.int64()),
            "image_id": pa.string(),
            "inliers": pa.int64(),
        }
    )
    return pa.Table.from_pylist(rows, schema)


def neighbors_table(retriever: Retriever, neighbors: Neighbors, evidence: Evidence) -> pa.Table:
    """Return a row a neighbour: query_id, rank from 0, image_id, landmark_id, score."""
    queries, ranks = np.nonzero(neighbors.rows >= 0)
    return pa.table(
        {
            **_pairs(retriever, neighbors, evidence.query_ids, queries, ranks),
            "landmark_id": evidence.labels[queries, ranks],
            "score": neighbors.scores[queries, ranks],
        }
    )


def verified_table(retriever: Retriever, neighbors: Neighbors, evidence: Evidence) -> pa.Table:
    """Return a row a verified candidate: query_id, rank, image_id, and what geometry says."""
    queries, ranks = np.nonzero(evidence.inliers >= 0)
    names = ("inliers", "residuals", "overlaps")
    return pa.table(
        {
            **_pairs(retriever, neighbors, evidence.query_ids, queries, ranks),
            **{name: evidence.arrays[name][queries, ranks] for name in names},
        }
    )


def _pairs(
    retriever: Retriever,
    neighbors: Neighbors,
    query_ids: Sequence[str],
    queries: NDArray[np.int64],
    ranks: NDArray[np.int64],
) -> dict[str, object]:
    rows = neighbors.rows[queries, ranks]
    # Types are named: without a row they could not be told, and readers could not filter by ids.
    return {
        "query_id": pa.array(query_ids, pa.string()).take(pa.array(queries)),
        "rank": ranks,
        "image_id": retriever.database.rows.ids(rows).cast(pa.string()),
    }
