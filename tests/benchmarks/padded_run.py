"""A run whose database is larger: random descriptors of images that have no local features.

For benchmarks of asking. Writes index/ of a copy of a run anew, as stage `index` would plan it.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from index.base import INDEX, VECTORS, BaseIndex
from index.plan import plan_index
from index.rows import ROWS, RowTable
from pipelines.artifacts import load_manifest, record_file, save_manifest
from pipelines.runs.job import open_job
from pipelines.runs.names import write_names

IMAGES_EACH = 20  # of a landmark that is made up
SEED = 3


def copy_padded(run: Path, into: Path, count: int) -> str:
    """Copy a run without changes; give its database `count` images, and return what its index is.

    The decision stays as it was set for the images that were there.
    """
    shutil.copytree(run, into)
    folder = into / "index"
    manifest = load_manifest(folder)
    assert manifest is not None
    table, real = RowTable.load(folder / ROWS), BaseIndex.load(folder / VECTORS, None, {}).exact
    more = count * (len(real) // len(table)) - len(real)
    if more <= 0:
        return f"{len(table):,} images"
    rng = np.random.default_rng(SEED)
    drawn = rng.standard_normal((more, real.shape[1]), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    vectors = np.concatenate([np.asarray(real, dtype=np.float32), drawn])
    rows = np.arange(count - len(table))
    made_up = pa.array([f"made-up-{row:07d}" for row in rows], pa.large_string())
    ids = pa.concat_arrays([table.ids(np.arange(len(table))).cast(pa.large_string()), made_up])
    labels = np.concatenate([table.landmark_ids, table.landmarks.max() + 1 + rows // IMAGES_EACH])
    job = open_job(None, into, None, None)
    search = job.recipe.search
    base, report = plan_index(vectors, search, neighbors=search.neighbors)
    for name in (VECTORS, INDEX, ROWS):
        (folder / name).unlink(missing_ok=True)
    written = {*base.save(folder), ROWS}
    RowTable.build(ids, labels).save(folder / ROWS)
    kept = [record for record in manifest.outputs if record.name not in {VECTORS, INDEX, ROWS}]
    outputs = [*kept, *(record_file(folder / name, count) for name in sorted(written))]
    details = {**manifest.details, "index": report.to_json()}
    padded = replace(manifest, outputs=outputs, details=details)
    save_manifest(padded, folder)
    write_names(job, padded)
    return str(report)
