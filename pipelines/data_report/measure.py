"""Time the real stages on some images of a dataset, each for a few seconds.

Reads the images. Writes local features into a temporary folder.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from embed.image_file import ImageFile
from embed.views import ONE_VIEW
from index.search import build_index

from ..progress import progress_bar
from ..recipe import Recipe
from .laps import Note, Rate, time_laps
from .measure_local import measure_local
from .measure_network import time_delf, time_describing, time_training
from .processes import Ticks, read_memory, watch_memory
from .rates import NOTHING, Memory, Rates
from .subject import Subject, make_subject

SECONDS = 6.0  # that a part is watched; training for twice as long
ROWS, QUERIES = 16_384, 256  # of the search that is timed


def measure(
    files: Sequence[ImageFile],
    classes: int,
    recipe: Recipe,
    *,
    weights: Path | None,
    workers: int,
    scratch: Path,
    seconds: float = SECONDS,
) -> Rates:
    """Time each part of the stages of a recipe.

    Args:
        files: images that can be read; a hundred or more are better than few.
        classes: of the training set; the head has one direction for each.
        recipe: that the plan is for.
        weights: local weights of the backbone; None: random ones.
        workers: processes that decode.
        scratch: a temporary folder is made in it, on the disk that runs are written to.
        seconds: that a part is watched.

    Raises:
        ValueError: the model cannot be built.
    """
    started, ticks, libraries = time.perf_counter(), Ticks.read(), read_memory()
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".measuring-") as folder:
        subject = make_subject(
            files,
            classes,
            recipe,
            weights=weights,
            workers=workers,
            scratch=Path(folder),
            seconds=seconds,
        )
        rates = _measure_parts(subject, libraries)
    return replace(
        rates,
        seconds=time.perf_counter() - started,
        others=ticks.others_until(Ticks.read()),
    )


def _measure_parts(subject: Subject, libraries: int) -> Rates:
    """Time the parts, that of the least memory first: some of it is not given back."""
    recipe, seconds = subject.recipe, subject.seconds
    delf = train = NOTHING
    values = sum(tensor.numel() for tensor in subject.model.state_dict().values())
    with progress_bar("measure this machine", 5) as advance:
        local = measure_local(subject)
        advance(1)
        search = _time_search(recipe.train.dim, recipe.search.neighbors, seconds / 5)
        advance(1)
        before = read_memory()
        with watch_memory() as peak:
            describe, smaller = time_describing(subject, subject.views, seconds)
        describing = (peak.bytes - before) * smaller
        advance(1)
        validate = describe
        if recipe.train.epochs and subject.views != ONE_VIEW:
            validate, _ = time_describing(subject, ONE_VIEW, seconds * 0.7)
        if recipe.rerank.method == "delf":
            delf = time_delf(subject, seconds)
        advance(1)
        training = 0.0
        if recipe.train.epochs:
            before = read_memory()
            with watch_memory() as peak:
                train, smaller = time_training(subject, 2 * seconds)
            training = (peak.bytes - before) * smaller
        advance(1)
    return Rates(
        train=train,
        validate=validate,
        describe=describe,
        delf=delf,
        extract=local.extract,
        read=local.read,
        verify=local.verify,
        search=search,
        feature_bytes=local.bytes,
        model_values=values,
        memory=Memory(libraries, training, describing),
    )


def _time_search(dim: int, neighbors: int, seconds: float) -> Rate:
    """Time an exact search, by the multiplication."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(ROWS, dim)).astype(np.float32)
    index = build_index(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def run(note: Note) -> None:
        while True:
            index.search(vectors[:QUERIES], min(neighbors, ROWS))
            note(QUERIES * ROWS * dim)

    return time_laps(run, seconds)
