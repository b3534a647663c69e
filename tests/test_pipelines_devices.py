"""`train` on two devices: an ensemble, with photos that cannot be read. Two processes a model."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.artifacts import load_manifest
from pipelines.runs.members import list_member_jobs
from pipelines.stages.order import Order
from tests.datasets import make_dataset, make_job, make_recipe_file

CHANGES = """
[train]
dim = 0
epochs = 1
epoch_steps = 12
freeze_batch_norm = true
validation_share = 0.0

[ensemble.members.one]

[ensemble.members.two.train]
seed = 1
"""


def test_an_ensemble_of_two_members_is_trained_on_two_devices(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data")
    broken = {f"thing{landmark}-{landmark % 4}" for landmark in range(6)}
    for image_id in broken:
        (data / "images" / f"{image_id}.jpg").write_bytes(b"no photo")
    job = make_job(data, tmp_path / "run", make_recipe_file(tmp_path / "tiny.toml", CHANGES))
    Order(replace(job, devices=2)).model()
    members = [member.run / "model" for member in list_member_jobs(job)]
    assert len(members) == 2
    for folder in members:
        manifest = load_manifest(folder)
        assert manifest is not None
        assert manifest.counts == {"requested": 24, "written": 18, "failed": 6}
        failures = pq.read_table(folder / "failures.parquet").to_pylist()
        assert {row["image_id"] for row in failures} == broken
        assert not list(folder.glob("checkpoint-*.pt"))
