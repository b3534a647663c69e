"""Stage `submit`: test images to a ranked submission with its evidence.

Reads index/, features/, decision/ and the test images. Writes submission.csv (a row for every test
id, sorted by id), predictions.parquet, neighbors.parquet, verified.parquet,
answers.jpg (a sample to look at), submit/manifest.json.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from classify_head.heads import load_head, predict_head
from classify_head.prediction import Prediction
from classify_head.submission import save_submission
from embed.shards import Embeddings, read_failures

from .artifacts import Manifest, invalidate, record_file, writing
from .embed import embed_split
from .features import extract_split
from .gallery import Picture, draw_gallery, spread
from .index import index_database
from .job import Job
from .prepare import load_split_embeddings, open_features, open_recognizer
from .recognition import Evidence, Recognizer
from .stage import Artifact

SECTIONS = ("search", "votes", "rerank", "decide")
OUTPUTS = (
    "submission.csv",
    "predictions.parquet",
    "neighbors.parquet",
    "verified.parquet",
    "answers.jpg",
)
SAMPLE, SHOWN = 8, 4  # queries in answers.jpg, and database images beside each


@dataclass(frozen=True)
class Step:
    """What one step of the pipeline would answer to each of Q queries."""

    labels: NDArray[np.int64]  # [Q]; -1 for no answer
    confidences: NDArray[np.float64]  # [Q]


def submit(job: Job) -> Manifest:
    """Write the submission of a run, or return what is there; makes what it needs.

    Raises:
        FileNotFoundError: the dataset has no test table.
    """
    if job.dataset.find_table("test") is None:
        raise FileNotFoundError(
            f"{job.data} has no test.csv, so there is nothing to submit; to ask about photos run "
            f"`cairn index --run {job.run}`, then `cairn query --run {job.run} photo.jpg`"
        )
    before = job.without_redo()
    indexed = index_database(before)
    tested = embed_split(before, "test")
    settings = {name: getattr(job.recipe, name).model_dump() for name in SECTIONS}
    inputs = {"index": indexed.key, "test": tested.content}
    if job.recipe.rerank.method != "none":
        inputs["features test"] = extract_split(before, "test").content
    artifact = Artifact(job, "submit", job.run / "submit", settings, inputs, redo=job.redo)
    if done := artifact.find():
        return done
    invalidate(artifact.folder)
    counts = _recognize(job, indexed)
    outputs = [replace(record_file(job.run / name), name=f"../{name}") for name in OUTPUTS]
    return artifact.sign(outputs, model=indexed.model, counts=counts)


def _recognize(job: Job, indexed: Manifest) -> dict[str, int]:
    """Answer every test image and write the OUTPUTS; return the counts of the manifest."""
    fingerprint = str(indexed.model["fingerprint"])
    recognizer = open_recognizer(job.run, job.recipe, fingerprint)
    queries = load_split_embeddings(job.run, "test")
    features = open_features(job.run, "test", job.recipe)
    evidence = recognizer.gather(
        queries.ids,
        queries.vectors,
        lambda row: features.get(queries.ids[row]) if features else None,
    )
    predictions = recognizer.predict(evidence)
    steps = {
        "head_only": _head_step(job, queries),
        "knn": _fused_step(recognizer, evidence, inlier_weight=0.0, penalty_weight=0.0),
        "reranked": _fused_step(recognizer, evidence, penalty_weight=0.0),
        "final": _final_step(predictions, job.recipe.decide.rejected),
    }
    failures = read_failures(job.run / "embeddings" / "test" / "failures.parquet")
    ids = [*queries.ids, *failures]
    final = steps["final"]
    empty = np.full(len(failures), -1, dtype=np.int64)
    save_submission(
        job.run / "submission.csv",
        ids,
        np.append(final.labels, empty),
        np.append(final.confidences, np.zeros(len(failures))),
    )
    _write(job, "predictions", _predictions_table(predictions, steps, failures))
    _write(job, "neighbors", _neighbors_table(recognizer, evidence))
    _write(job, "verified", _verified_table(recognizer, evidence))
    with writing(job.run / "answers.jpg") as temporary:
        draw_gallery(_sample_rows(job, recognizer, evidence, predictions), temporary)
    return {"requested": len(ids), "written": len(queries.ids), "failed": len(failures)}


def _sample_rows(
    job: Job, recognizer: Recognizer, evidence: Evidence, predictions: list[Prediction]
) -> list[list[Picture]]:
    """Return some queries from the surest answer to the least sure, and what speaks for each."""
    rows = []
    for query in spread([prediction.confidence for prediction in predictions], SAMPLE):
        prediction = predictions[query]
        known = prediction.landmark_id
        title = "no known landmark" if known is None else recognizer.name(known)
        note = f"confidence {prediction.confidence:.3f}"
        path = job.dataset.image_path(prediction.query_id)
        row = [Picture(path, title, note, answered=known is not None)]
        scores, inliers = evidence.neighbors.scores[query], evidence.inliers[query]
        for rank in np.lexsort((-scores, -inliers))[:SHOWN]:
            if evidence.labels[query, rank] < 0:
                continue
            image_id = recognizer.database.image_ids[evidence.neighbors.rows[query, rank]]
            name = recognizer.name(int(evidence.labels[query, rank]))
            note = f"similarity {scores[rank]:.2f}, {max(int(inliers[rank]), 0)} inliers"
            row.append(Picture(job.dataset.image_path(image_id), name, note))
        rows.append(row)
    return rows


def _head_step(job: Job, queries: Embeddings) -> Step:
    labels, probabilities = predict_head(
        *load_head(job.run / "model" / "head.safetensors"), queries.vectors
    )
    return Step(labels, probabilities.astype(np.float64))


def _fused_step(recognizer: Recognizer, evidence: Evidence, **without: float) -> Step:
    """Answer with some of the weights set otherwise, and without rejection."""
    settings = replace(recognizer.fusion, **without)  # type: ignore[arg-type]
    answers = [recognizer.answer(evidence, q, settings) for q in range(len(evidence.labels))]
    return Step(
        np.array([answer.label for answer in answers], dtype=np.int64),
        np.array([answer.confidence for answer in answers]),
    )


def _final_step(predictions: list[Prediction], rejected: str) -> Step:
    """Return what the submission says: of rejected queries the guess (sink) or nothing (empty)."""
    labels = []
    for prediction in predictions:
        answer = prediction.guess if rejected == "sink" else prediction.landmark_id
        labels.append(-1 if answer is None else answer)
    confidences = np.array([prediction.confidence for prediction in predictions])
    return Step(np.array(labels, dtype=np.int64), confidences)


def _predictions_table(
    predictions: list[Prediction], steps: dict[str, Step], failures: dict[str, tuple[str, str]]
) -> pa.Table:
    """Return a row a query: the answer, its evidence, and what each step alone would answer."""
    rows = [
        {
            "query_id": prediction.query_id,
            "landmark_id": prediction.landmark_id,
            "confidence": prediction.confidence,
            "reason": prediction.reason,
            **{name: prediction.evidence.get(name) for name in ("votes", "similarity", "inliers")},
            "penalty": prediction.evidence.get("penalty"),
            **{f"{name}_label": int(step.labels[row]) for name, step in steps.items()},
            **{f"{name}_confidence": float(step.confidences[row]) for name, step in steps.items()},
        }
        for row, prediction in enumerate(predictions)
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
        [("query_id", pa.string()), ("landmark_id", pa.int64()), ("confidence", pa.float64())]
        + [("reason", pa.string())]
        + [(name, pa.float64()) for name in ("votes", "similarity", "inliers", "penalty")]
        + [(f"{name}_label", pa.int64()) for name in steps]
        + [(f"{name}_confidence", pa.float64()) for name in steps]
    )
    return pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["query_id"])), schema)


def _neighbors_table(recognizer: Recognizer, evidence: Evidence) -> pa.Table:
    """Return a row a neighbour: query_id, rank from 0, image_id, landmark_id, score."""
    queries, ranks = np.nonzero(evidence.neighbors.rows >= 0)
    return pa.table(
        {
            **_pairs(recognizer, evidence, queries, ranks),
            "landmark_id": evidence.labels[queries, ranks],
            "score": evidence.neighbors.scores[queries, ranks],
        }
    )


def _verified_table(recognizer: Recognizer, evidence: Evidence) -> pa.Table:
    """Return a row a verified candidate: query_id, rank from 0, image_id, inliers."""
    queries, ranks = np.nonzero(evidence.inliers >= 0)
    pairs = _pairs(recognizer, evidence, queries, ranks)
    return pa.table({**pairs, "inliers": evidence.inliers[queries, ranks]})


def _pairs(
    recognizer: Recognizer,
    evidence: Evidence,
    queries: NDArray[np.int64],
    ranks: NDArray[np.int64],
) -> dict[str, object]:
    rows = evidence.neighbors.rows[queries, ranks]
    return {
        "query_id": pa.array([evidence.neighbors.query_ids[query] for query in queries]),
        "rank": ranks,
        "image_id": pa.array([recognizer.database.image_ids[row] for row in rows]),
    }


def _write(job: Job, name: str, table: pa.Table) -> None:
    with writing(job.run / f"{name}.parquet") as temporary:
        pq.write_table(table, temporary)
