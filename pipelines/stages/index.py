"""Stage `index`: embeddings of the database split to everything a query is compared with.

Reads embeddings/. Writes index/: index.faiss, ids.parquet (row, image_id, landmark_id),
names.json, whitening.safetensors and landmark_head.json where the recipe asks for them,
manifest.json; by other stages features/ and decision/.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embed.files import writing
from index.search import save_index
from pipelines.answers.database import WHITENING
from pipelines.answers.decision import set_decision
from pipelines.answers.landmark_head import LANDMARK_HEAD, write_landmark_head
from pipelines.answers.open_run import load_split_embeddings, split_pool
from pipelines.artifacts import Manifest, invalidate, record_file
from pipelines.runs.artifact import Artifact
from pipelines.runs.job import Job
from pipelines.runs.names import write_names

from .embed import embed_split
from .features import extract_split
from .fit_search import fit_search
from .known_queries import prepare_held_out


def index_database(job: Job) -> Manifest:
    """Make everything a query is compared with: index, local features, decision.

    What is there already is kept; what comes before is made if need be.
    """
    before = job.without_redo()
    splits = [job.dataset.database_split]
    if job.dataset.find_table("non_landmark"):
        splits.append("non_landmark")
    embedded = {split: embed_split(before, split) for split in splits}
    features = {}
    if job.recipe.rerank.method != "none":
        features = {split: extract_split(before, split) for split in splits}
    prepare_held_out(before)
    manifest = _build(job, embedded, features)
    write_names(job, manifest)
    set_decision(job, manifest)
    return manifest


def _build(job: Job, embedded: dict[str, Manifest], features: dict[str, Manifest]) -> Manifest:
    """Write index/ from the embeddings of the database split.

    The index itself needs no more. Features and pool are inputs all the same, for whatever is
    compared with them is compared with this state of them.
    """
    split = job.dataset.database_split
    inputs = {name: manifest.content for name, manifest in embedded.items()}
    inputs |= {f"features {name}": manifest.content for name, manifest in features.items()}
    folder = job.run / "index"
    settings: dict[str, Any] = {"database": split, "search": job.recipe.search.model_dump()}
    if job.recipe.decide.landmark_head:
        settings["landmark_head"] = True  # not False: indexes of before it keep their key
    artifact = Artifact(job, "index", folder, settings, inputs, redo=job.redo)
    if done := artifact.find():
        return done
    invalidate(folder)
    embeddings = load_split_embeddings(job.run, split)
    _fit_landmark_head(job, embeddings.vectors, folder / LANDMARK_HEAD)
    whitening, index = fit_search(embeddings.vectors, embeddings.landmark_ids, job.recipe.search)
    (folder / WHITENING).unlink(missing_ok=True)  # where it is, it is applied
    if whitening is not None:
        with writing(folder / WHITENING) as temporary:
            whitening.save(temporary)
    with writing(folder / "index.faiss") as temporary:
        save_index(index, temporary)
    with writing(folder / "ids.parquet") as temporary:
        _write_ids(temporary, embeddings.ids, embeddings.landmark_ids)
    count = len(embeddings.ids)
    written = ("index.faiss", "ids.parquet", WHITENING, LANDMARK_HEAD)
    outputs = [folder / name for name in written if (folder / name).is_file()]
    return artifact.sign(
        [record_file(path, count) for path in outputs],
        model=embedded[split].model,
        counts={"requested": count, "written": count, "failed": 0},
    )


def _fit_landmark_head(job: Job, vectors: NDArray[np.float32], path: Path) -> None:
    """Fit the landmark head on descriptors [N, dim] as embedded, or do nothing.

    The second half of the pool is not learned from: it sets the decision.
    """
    path.unlink(missing_ok=True)
    if not job.recipe.decide.landmark_head:
        return
    has_pool = job.dataset.find_table("non_landmark") is not None
    write_landmark_head(vectors, split_pool(job.run)[0].vectors if has_pool else vectors[:0], path)


def _write_ids(path: Path, ids: tuple[str, ...], landmark_ids: NDArray[np.int64]) -> None:
    table = pa.table(
        {
            "row": np.arange(len(ids)),
            "image_id": pa.array(ids, pa.string()),
            "landmark_id": landmark_ids,
        }
    )
    pq.write_table(table, path)
