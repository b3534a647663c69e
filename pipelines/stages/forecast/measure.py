"""Time the real stages on some images of a dataset, each for a few seconds.

Reads the images. Writes local features into a temporary folder.
"""

import tempfile
import time
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import numpy as np

from embed.settings import BalanceSettings
from index.search import build_index
from pipelines.progress import progress_bar
from pipelines.runs.recipe import Recipe

from .laps import Note, Rate, time_laps
from .measure_local import LocalRates, measure_local
from .measure_model import STEPS, measure_model
from .model_work import ModelWork, list_models
from .processes import Ticks, read_memory
from .rates import ModelRates, Rates
from .subject import Trial, make_subject
from .workload import Workload

# Of the search that is timed: fewer rows of long descriptors, for 64 MB at most.
ROWS, QUERIES, VALUES = 16_384, 256, 2**24


def measure(trial: Trial, work: Workload, recipe: Recipe) -> Rates:
    """Time each part of the stages of a recipe.

    Args:
        trial: what on. A temporary folder is made in its folder.
        work: what there will be to do.
        recipe: that the plan is for.

    Raises:
        ValueError: a model cannot be built.
    """
    started, ticks, libraries = time.perf_counter(), Ticks.read(), read_memory()
    with tempfile.TemporaryDirectory(dir=trial.scratch, prefix=".measuring-") as folder:
        rates = _measure_parts(replace(trial, scratch=Path(folder)), work, recipe)
    return replace(
        rates,
        libraries=libraries,
        seconds=time.perf_counter() - started,
        others=ticks.others_until(Ticks.read()),
    )


def _measure_parts(trial: Trial, work: Workload, recipe: Recipe) -> Rates:
    """Time local features on the first model, then each model, then the search."""
    recipes = list(list_models(recipe).values())
    keys = [_name_speed(each, model) for each, model in zip(recipes, work.models, strict=True)]
    timed: dict[Hashable, ModelRates] = {}
    local = LocalRates()
    with progress_bar("measure this machine", STEPS * len(set(keys)) + 2) as advance:
        for key, each, model in zip(keys, recipes, work.models, strict=True):
            if key in timed:
                continue
            subject = make_subject(trial, each, model)
            if not timed:  # local features are made with the first model
                local = measure_local(subject, work.candidates)
                advance(1)
            with_delf = not timed and recipe.rerank.method == "delf"
            timed[key] = measure_model(subject, advance, with_delf=with_delf)
        models = tuple(timed[key] for key in keys)
        dim = sum(model.dim for model in models)
        search = _time_search(dim, recipe.search.neighbors, trial.seconds / 5)
        advance(1)
    return Rates(
        models=models,
        extract=local.extract,
        read=local.read,
        verify=local.verify,
        search=search,
        feature_bytes=local.bytes,
    )


def _name_speed(recipe: Recipe, work: ModelWork) -> Hashable:
    """Return what decides how fast a model is: members that differ in images alone are alike."""
    train = recipe.train.model_copy(update={"seed": 0, "balance": BalanceSettings()})
    return train, recipe.embed, work.classes


def _time_search(dim: int, neighbors: int, seconds: float) -> Rate:
    """Time an exact search, by the multiplication."""
    generator = np.random.default_rng(0)
    rows = max(min(ROWS, VALUES // dim), QUERIES)
    vectors = generator.standard_normal((rows, dim), dtype=np.float32)
    index = build_index(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def run(note: Note) -> None:
        while True:
            index.search(vectors[:QUERIES], min(neighbors, rows))
            note(QUERIES * rows * dim)

    return time_laps(run, seconds)
