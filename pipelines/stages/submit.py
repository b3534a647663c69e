"""Stage `submit`: test images to a ranked submission with its evidence.

Reads index/, features/, decision/ and the test images. Writes submission.csv (a row for every test
id, sorted by id), predictions.parquet, neighbors.parquet, verified.parquet, evidence.parquet,
submit/manifest.json; further.parquet where decide.most_answers is above 1. Removes answers.jpg,
which shows the submission before.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classify_head.evidence_store import write_evidence
from classify_head.label_scores import Choice
from classify_head.policies import POLICIES, decide
from classify_head.policy import adjust
from classify_head.submission import save_submission
from embed.files import writing
from embed.shards import Embeddings
from pipelines.answers.answer import make_answers, measure_guesses
from pipelines.answers.decision import load_decision
from pipelines.answers.extras import make_extras
from pipelines.answers.further import add_further
from pipelines.answers.open_run import (
    load_split_embeddings,
    load_split_failures,
    open_features,
    open_retriever,
)
from pipelines.artifacts import Manifest, invalidate, record_file
from pipelines.progress import progress_meter
from pipelines.runs.artifact import FURTHER, SHEET, Artifact
from pipelines.runs.job import Job
from rerank.features import LocalFeatures

from .answer_tables import further_table, neighbors_table, predictions_table, verified_table

OUTPUTS = (
    "submission.csv",
    "predictions.parquet",
    "neighbors.parquet",
    "verified.parquet",
    "evidence.parquet",
)

# What local features alone add to the votes.
GEOMETRY_ALONE = adjust(POLICIES["weighted"], {"fusion": {"penalty_weight": 0.0}})


def submit(artifact: Artifact, indexed: Manifest) -> Manifest:
    """Write the submission of a run whose decision is set and whose test images are described."""
    job = artifact.job
    invalidate(artifact.folder)
    for name in (SHEET, FURTHER):
        (job.run / name).unlink(missing_ok=True)
    counts = _recognize(job, indexed)
    names = [*OUTPUTS, FURTHER] if job.recipe.decide.most_answers > 1 else OUTPUTS
    outputs = [replace(record_file(job.run / name), name=f"../{name}") for name in names]
    return artifact.sign(outputs, model=indexed.model, counts=counts)


def _recognize(job: Job, indexed: Manifest) -> dict[str, int]:
    """Answer every test image and write the OUTPUTS; return the counts of the manifest."""
    fingerprint = str(indexed.model["fingerprint"])
    retriever = open_retriever(job.run, job.recipe, fingerprint, job.dataset.names)
    decision = load_decision(job.run, job.recipe, retriever.database)
    queries = load_split_embeddings(job.run, "test")
    features = open_features(job.run, "test", job.recipe)

    def find_features(query: int) -> LocalFeatures | None:
        return features.get(queries.ids[query]) if features else None

    with progress_meter("compare test pairs") as meter:
        neighbors, evidence = retriever.gather(queries, find_features, meter=meter)
    extras = make_extras(decision.policy, retriever.database, queries.vectors, neighbors.rows)
    decisions = decision.answer(evidence, extras)
    # Of rejected queries the submission has the guess (sink) or nothing (empty).
    sink = job.recipe.decide.rejected == "sink"
    steps = {
        "head_only": _choose_by_head(queries),
        "knn": decide(evidence, POLICIES["knn-power"]).guesses,
        "reranked": decide(evidence, GEOMETRY_ALONE).guesses,
        "final": decisions.guesses if sink else decisions.answers,
    }
    failures = load_split_failures(job.run, "test")
    ids = [*queries.ids, *failures]
    save_submission(job.run / "submission.csv", ids, steps["final"].pad(len(failures)))
    answers = make_answers(retriever, evidence, decisions)
    if job.recipe.decide.most_answers > 1:
        gathered = retriever, decision, evidence, neighbors.rows
        answers = add_further(answers, *gathered, find_features=find_features)
        _write(job, "further", further_table(answers))
    known = measure_guesses(evidence, decisions)
    _write(job, "predictions", predictions_table(answers, known, steps, failures))
    _write(job, "neighbors", neighbors_table(retriever, neighbors, evidence))
    _write(job, "verified", verified_table(retriever, neighbors, evidence))
    with writing(job.run / "evidence.parquet") as temporary:
        write_evidence(evidence, temporary)
    return {"requested": len(ids), "written": len(queries.ids), "failed": len(failures)}


def _choose_by_head(queries: Embeddings) -> Choice:
    head = queries.head
    return Choice(head.labels[:, 0], head.probabilities[:, 0].astype(np.float64))


def _write(job: Job, name: str, table: pa.Table) -> None:
    with writing(job.run / f"{name}.parquet") as temporary:
        pq.write_table(table, temporary)
