"""Stage `submit`: test images to a ranked submission with its evidence.

Reads index/, features/, decision/ and the test images. Writes submission.csv (a row for every test
id, sorted by id), predictions.parquet, neighbors.parquet, verified.parquet, evidence.parquet,
answers.jpg (a sample to look at), submit/manifest.json.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classify_head.evidence import Evidence
from classify_head.policies import POLICIES, Decisions, decide
from classify_head.policy import Policy, adjust
from classify_head.submission import save_submission
from embed.shards import Embeddings
from index.neighbors import Neighbors

from .answer_tables import Step, neighbors_table, predictions_table, verified_table
from .artifacts import Manifest, invalidate, record_file, writing
from .decision import load_decision
from .embed import embed_split
from .evidence_store import write_evidence
from .extras import make_extras
from .features import extract_split
from .gallery import Picture, draw_gallery, spread
from .index import index_database
from .job import Job
from .predictions import make_predictions
from .prepare import load_split_embeddings, load_split_failures, open_features, open_recognizer
from .recognition import Recognizer
from .stage import Artifact

SECTIONS = ("search", "rerank", "decide")
OUTPUTS = (
    "submission.csv",
    "predictions.parquet",
    "neighbors.parquet",
    "verified.parquet",
    "evidence.parquet",
    "answers.jpg",
)
SAMPLE, SHOWN = 8, 4  # queries in answers.jpg, and database images beside each


# What local features alone add to the votes.
GEOMETRY_ALONE = adjust(POLICIES["weighted"], {"fusion": {"penalty_weight": 0.0}})


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
    decision = load_decision(job.run, job.recipe, recognizer.database)
    queries = load_split_embeddings(job.run, "test")
    features = open_features(job.run, "test", job.recipe)
    neighbors, evidence = recognizer.gather(
        queries,
        lambda row: features.get(queries.ids[row]) if features else None,
    )
    extras = make_extras(decision.policy, recognizer.database, queries.vectors, neighbors.rows)
    decisions = decision.answer(evidence, extras)
    steps = {
        "head_only": _head_step(queries),
        "knn": _policy_step(evidence, POLICIES["knn-power"]),
        "reranked": _policy_step(evidence, GEOMETRY_ALONE),
        "final": _final_step(decisions, job.recipe.decide.rejected),
    }
    failures = load_split_failures(job.run, "test")
    ids = [*queries.ids, *failures]
    final = steps["final"]
    empty = np.full(len(failures), -1, dtype=np.int64)
    save_submission(
        job.run / "submission.csv",
        ids,
        np.append(final.labels, empty),
        np.append(final.confidences, np.zeros(len(failures))),
    )
    predictions = make_predictions(recognizer, evidence, decisions)
    _write(job, "predictions", predictions_table(predictions, steps, failures))
    _write(job, "neighbors", neighbors_table(recognizer, neighbors, evidence))
    _write(job, "verified", verified_table(recognizer, neighbors, evidence))
    with writing(job.run / "evidence.parquet") as temporary:
        write_evidence(evidence, temporary)
    with writing(job.run / "answers.jpg") as temporary:
        draw_gallery(_sample_rows(job, recognizer, neighbors, evidence, decisions), temporary)
    return {"requested": len(ids), "written": len(queries.ids), "failed": len(failures)}


def _sample_rows(
    job: Job,
    recognizer: Recognizer,
    neighbors: Neighbors,
    evidence: Evidence,
    decisions: Decisions,
) -> list[list[Picture]]:
    """Return some queries from the surest answer to the least sure, and what speaks for each."""
    rows = []
    for query in spread(decisions.confidences.tolist(), SAMPLE):
        label = int(decisions.labels[query])
        title = "no known landmark" if label < 0 else recognizer.name(label)
        note = f"confidence {decisions.confidences[query]:.3f}"
        path = job.dataset.locate(evidence.query_ids[query])
        row = [Picture(path, title, note, answered=label >= 0)]
        scores, inliers = evidence.similarities[query], evidence.inliers[query]
        for rank in np.lexsort((-scores, -inliers))[:SHOWN]:
            if evidence.labels[query, rank] < 0:
                continue
            image_id = recognizer.database.image_ids[neighbors.rows[query, rank]]
            name = recognizer.name(int(evidence.labels[query, rank]))
            note = f"similarity {scores[rank]:.2f}, {max(int(inliers[rank]), 0)} inliers"
            row.append(Picture(job.dataset.locate(image_id), name, note))
        rows.append(row)
    return rows


def _head_step(queries: Embeddings) -> Step:
    head = queries.head
    return Step(head.labels[:, 0], head.probabilities[:, 0].astype(np.float64))


def _policy_step(evidence: Evidence, policy: Policy) -> Step:
    decisions = decide(evidence, policy)
    return Step(decisions.guesses, decisions.confidences)


def _final_step(decisions: Decisions, rejected: str) -> Step:
    """Return what the submission says: of rejected queries the guess (sink) or nothing (empty)."""
    labels = decisions.guesses if rejected == "sink" else decisions.labels
    return Step(labels, decisions.confidences)


def _write(job: Job, name: str, table: pa.Table) -> None:
    with writing(job.run / f"{name}.parquet") as temporary:
        pq.write_table(table, temporary)
