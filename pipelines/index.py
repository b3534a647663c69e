"""Stage `index`: embeddings of the database split to everything a query is compared with.

Reads embeddings/. Writes index/: index.faiss, ids.parquet (row, image_id, landmark_id, name),
manifest.json; by other stages features/ and decision/.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from index.search import build_index, save_index

from .artifacts import Manifest, hash_values, invalidate, record_file, writing
from .embed import embed_split
from .features import extract_split
from .job import Job
from .prepare import load_split_embeddings
from .stage import Artifact
from .threshold import set_threshold


def index_database(job: Job) -> Manifest:
    """Make everything a query is compared with: index, local features, threshold.

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
    manifest = _build(job, embedded, features)
    set_threshold(job, manifest)
    return manifest


def _build(job: Job, embedded: dict[str, Manifest], features: dict[str, Manifest]) -> Manifest:
    """Write index/ from the embeddings of the database split.

    The index itself needs no more. Features and pool are inputs all the same, for whatever is
    compared with them is compared with this state of them.
    """
    split = job.dataset.database_split
    inputs = {name: manifest.content for name, manifest in embedded.items()}
    inputs |= {f"features {name}": manifest.content for name, manifest in features.items()}
    inputs["names"] = hash_values({str(label): name for label, name in job.dataset.names.items()})
    folder = job.run / "index"
    artifact = Artifact(job, "index", folder, {"database": split}, inputs, redo=job.redo)
    if done := artifact.find():
        return done
    invalidate(folder)
    embeddings = load_split_embeddings(job.run, split)
    with writing(folder / "index.faiss") as temporary:
        save_index(build_index(embeddings.vectors), temporary)
    names = [job.dataset.names.get(int(label), "") for label in embeddings.landmark_ids]
    with writing(folder / "ids.parquet") as temporary:
        _write_ids(temporary, embeddings.ids, embeddings.landmark_ids, names)
    count = len(embeddings.ids)
    return artifact.sign(
        [record_file(folder / name, count) for name in ("index.faiss", "ids.parquet")],
        model=embedded[split].model,
        counts={"requested": count, "written": count, "failed": 0},
    )


def _write_ids(
    path: Path, ids: tuple[str, ...], landmark_ids: NDArray[np.int64], names: list[str]
) -> None:
    table = pa.table(
        {
            "row": np.arange(len(ids)),
            "image_id": pa.array(ids, pa.string()),
            "landmark_id": landmark_ids,
            "name": pa.array(names, pa.string()),
        }
    )
    pq.write_table(table, path)
