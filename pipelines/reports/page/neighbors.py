"""Read which database photos stand beside the queries of a run.

Reads neighbors.parquet and verified.parquet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.runs.integrity import intact_output
from pipelines.runs.job import Job


@dataclass(frozen=True)
class Neighbor:
    """A database photo beside a query."""

    image_id: str
    label: int
    rank: int | None  # from 0; None where it is not among the neighbours
    similarity: float  # cosine
    inliers: int | None  # None where it was not compared


def read_neighbors(job: Job, query_ids: Sequence[str]) -> dict[str, list[Neighbor]]:
    """Return the neighbours of some queries, nearest first."""
    found: dict[str, list[Neighbor]] = {query_id: [] for query_id in query_ids}
    # Types are named: runs that verified nothing have an untyped column, and no query may be asked.
    filters = pc.field("query_id").cast(pa.string()).isin(pa.array(sorted(found), pa.string()))
    verified_file = intact_output(job.run, "verified.parquet")
    verified = pq.read_table(verified_file, filters=filters).to_pylist()
    inliers = {(row["query_id"], row["rank"]): row["inliers"] for row in verified}
    rows = pq.read_table(intact_output(job.run, "neighbors.parquet"), filters=filters).to_pylist()
    for row in sorted(rows, key=lambda row: int(row["rank"])):
        query_id, place = row["query_id"], row["rank"]
        # Behind the neighbours are images that were verified for their class: no true places.
        rank = place if place < job.recipe.search.neighbors else None
        known = inliers.get((query_id, place))
        found[query_id].append(
            Neighbor(row["image_id"], row["landmark_id"], rank, row["score"], known)
        )
    return found
