"""Render a demo city and write it as a dataset folder.

Writes images/<id>.jpg, then all tables together. Each photo depends on its seed alone: neither the
number of workers nor the order matters, and what was rendered before an interruption is kept.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from embed.errors import InputError
from embed.files import writing
from pipelines.datasets.renewal import renewing

from .landmarks import build
from .photo import Studio, photograph
from .plan import POOL, SCENE, SETTING, SHOT, City, CityPlan, Shot, plan_city
from .scenery import Props
from .scenes import photograph_scene

BATCH = 12  # scenes a worker takes at a time
POOLS = {"distractor": 1, "pool": 2}  # landmarks have pool 0


def render_city(
    folder: Path,
    plan: CityPlan = CityPlan(),  # noqa: B008  (frozen, so that sharing it is harmless)
    *,
    seed: int = 0,
    workers: int | None = None,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Render a demo city into a folder; photos that are there already are kept.

    Args:
        folder: is made if missing; other files in it stay.
        plan: sizes and difficulty.
        seed: of everything; the same seed and plan give the same bytes in every file.
        workers: processes, all cores if None; 1 renders in this process.
        report: is called with (photos done, photos in all) after each batch.

    Raises:
        InputError: workers is less than 1, or seed is negative.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1 or seed < 0:
        raise InputError(f"workers {workers} must be 1 or more and seed {seed} 0 or more")
    city = plan_city(plan, seed)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    missing = [s for s in city.shots if not image_path(images, s).exists()]
    done, total = len(city.shots) - len(missing), len(city.shots)
    for count in _render(images, plan, city, seed, batches=_batches(missing), workers=workers):
        done += count
        if report is not None:
            report(done, total)
    _write_tables(folder, city)


def image_path(images: Path, shot: Shot) -> Path:
    """Give the file of a photo."""
    return images / f"{shot.image_id}.jpg"


def _batches(shots: Sequence[Shot]) -> list[list[Shot]]:
    """Group photos so that a landmark is built once; the largest groups come first."""
    groups: dict[tuple[int, str, int], list[Shot]] = {}
    for shot in shots:
        scene = (shot.split, shot.number // BATCH) if shot.landmark < 0 else ("", 0)
        groups.setdefault((shot.landmark, *scene), []).append(shot)
    return sorted(groups.values(), key=len, reverse=True)


def _render(
    images: Path, plan: CityPlan, city: City, seed: int, *, batches: list[list[Shot]], workers: int
) -> Iterator[int]:
    if workers == 1 or len(batches) < 2:
        threads = cv2.getNumThreads()
        for batch in batches:
            yield render_batch(images, plan, city, seed, batch)
        cv2.setNumThreads(threads)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(batches)), mp_context=context) as pool:
        tasks = [pool.submit(render_batch, images, plan, city, seed, b) for b in batches]
        for task in as_completed(tasks):
            yield task.result()


def render_batch(images: Path, plan: CityPlan, city: City, seed: int, shots: Sequence[Shot]) -> int:
    """Render photos of one landmark, or scenes of one split; give their number."""
    cv2.setNumThreads(1)
    props = _props(seed, POOLS.get(shots[0].split, 0))
    landmark = shots[0].landmark
    studio = None
    if landmark >= 0:
        studio = Studio(build(city.blueprints[landmark]), (seed, SETTING, landmark))
    for shot in shots:
        rng = np.random.default_rng([seed, SHOT if studio else SCENE, shot.number])
        if studio is not None:
            data = photograph(studio, props, rng, plan.difficulty, scale=plan.scale, hard=shot.hard)
        else:
            data = photograph_scene(props, rng, plan.difficulty, scale=plan.scale)
        path = image_path(images, shot)
        with writing(path, path.with_name(f".{path.name}.tmp"), sync=False) as temporary:
            temporary.write_bytes(data)
    return len(shots)


@lru_cache(maxsize=3)
def _props(seed: int, pool: int) -> Props:
    """Keep the props of a pool from batch to batch: they are a function of seed and pool."""
    return Props((seed, POOL, pool))


def _write_tables(folder: Path, city: City) -> None:
    shots = sorted(city.shots, key=lambda s: s.image_id)
    train = [(s.image_id, city.labels[s.landmark]) for s in shots if s.split == "train"]
    index = [
        (s.image_id, city.labels[s.landmark]) for s in shots if s.split in ("train", "database")
    ]
    test = [s for s in shots if s.split in ("query", "distractor")]
    answers = [
        (s.image_id, city.labels[s.landmark] if s.landmark >= 0 else "", "Public") for s in test
    ]
    pool = [(s.image_id,) for s in shots if s.split == "pool"]
    labels = sorted(zip(city.labels, city.names, strict=True))
    tables: dict[str, tuple[tuple[str, ...], Sequence[tuple[object, ...]]]] = {
        "test": (("id",), [(s.image_id,) for s in test]),
        "solution": (("id", "landmarks", "Usage"), answers),
        "non_landmark": (("id",), pool),
        "labels": (("landmark_id", "name"), labels),
        "index": (("id", "landmark_id"), index),
        "train": (("id", "landmark_id"), train),
    }
    with renewing(folder, tables) as renewal:
        for name, (header, rows) in tables.items():
            _write_table(renewal.waiting / f"{name}.csv", header, rows)


def _write_table(path: Path, header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
