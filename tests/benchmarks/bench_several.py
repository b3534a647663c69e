"""Two things in one photo: how often both are named, and how often a second is where there is one.

Makes photos of two test photos of different landmarks each: side by side, and one in a corner of
the other, half as wide. Beside them the test photos of one thing as they are. Reads a finished run;
it is asked for MOST answers, whatever its recipe says, by its decision as it is.

python -m tests.benchmarks.bench_several RUN --into FOLDER [--photos 100]
(minutes)
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embed.decode import decode_image
from embed.image_file import ImageFile
from pipelines.answers.answer import Answer
from pipelines.datasets.dataset import Dataset
from pipelines.recognizer import Recognizer
from pipelines.runs.recipe import change_recipe

MOST = 3  # answers asked for
SIDE = 512  # pixels of the longer side of a photo before it is pasted

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """A photo, and the landmarks that it shows."""

    path: ImageFile
    labels: frozenset[int]


def side_by_side(first: Pixels, second: Pixels) -> Pixels:
    """Put two photos beside each other, both as high as the first."""
    width = max(1, round(second.shape[1] * first.shape[0] / second.shape[0]))
    other = cv2.resize(second, (width, first.shape[0]), interpolation=cv2.INTER_AREA)
    return np.concatenate([first, other.astype(np.uint8)], axis=1)


def in_a_corner(first: Pixels, second: Pixels) -> Pixels:
    """Put the second photo into the lower right corner of the first, at half of its size."""
    height, width = first.shape[0] // 2, first.shape[1] // 2
    scale = min(height / second.shape[0], width / second.shape[1])
    size = (max(1, round(second.shape[1] * scale)), max(1, round(second.shape[0] * scale)))
    pasted = first.copy()
    pasted[-size[1] :, -size[0] :] = cv2.resize(second, size, interpolation=cv2.INTER_AREA)
    return pasted


PASTES = {"side by side": side_by_side, "in a corner": in_a_corner}


def read_photo(dataset: Dataset, image_id: str) -> Pixels:
    """Return a photo [H, W, 3] whose longer side is SIDE."""
    pixels = decode_image(dataset.locate(image_id)).pixels
    scale = SIDE / max(pixels.shape[:2])
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def paste_photos(
    dataset: Dataset, truths: dict[str, int], count: int, name: str, into: Path
) -> Iterator[Shown]:
    """Write photos of two landmarks each, drawn at random, and yield them."""
    generator = np.random.default_rng(0)
    ids = sorted(truths)
    into.mkdir(parents=True, exist_ok=True)
    made = 0
    while made < count:
        first, second = (ids[place] for place in generator.choice(len(ids), 2, replace=False))
        if truths[first] == truths[second]:
            continue
        path = into / f"{name.replace(' ', '-')}-{made}.png"
        pasted = PASTES[name](read_photo(dataset, first), read_photo(dataset, second))
        Image.fromarray(pasted).save(path)
        yield Shown(path, frozenset({truths[first], truths[second]}))
        made += 1


def format_row(name: str, shown: list[Shown], answers: list[Answer]) -> str:
    """Return a line of a Markdown table: shares of all photos."""
    counts = np.zeros(4)
    for photo, answer in zip(shown, answers, strict=True):
        others = {each.label for each in answer.further}
        named = others | {answer.label}
        both = len(photo.labels) > 1 and photo.labels <= named
        counts += [
            answer.label in photo.labels,
            both,
            bool(others),
            bool(others - photo.labels),
        ]
    shares = " | ".join(f"{share:.3f}" for share in counts / len(shown))
    return f"| {name} | {len(shown)} | {shares} |"


HEADER = """\
| photos | number | first is right | both are named | a further one | a wrong further one |
|---|---|---|---|---|---|"""


def open_engine(run: Path) -> Recognizer:
    """Load a run that gives MOST answers, decided as it was made to."""
    opened = Recognizer.load(run).opened
    recipe = change_recipe(opened.recipe, [f"decide.most_answers={MOST}"])
    return Recognizer(replace(opened, decision=replace(opened.decision, recipe=recipe)))


def list_truths(dataset: Dataset, known: set[int]) -> dict[str, int]:
    """Return the landmark of each test photo that shows one, and one that is known."""
    solution = dataset.solution
    pairs = zip(solution.query_ids, solution.truths, strict=True)
    found = {image_id: next(iter(truth)) for image_id, truth in pairs if len(truth) == 1}
    return {image_id: label for image_id, label in found.items() if label in known}


def measure(run: Path, count: int, into: Path) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    engine = open_engine(run)
    dataset = engine.opened.dataset
    truths = list_truths(dataset, set(engine.opened.retriever.database.rows.landmark_ids.tolist()))
    yield HEADER
    chosen = np.random.default_rng(0).permutation(sorted(truths))[: 2 * count].tolist()
    single = [Shown(dataset.locate(name), frozenset({truths[name]})) for name in chosen]
    yield format_row("one thing", single, [engine.recognize(photo.path) for photo in single])
    for name in PASTES:
        shown = list(paste_photos(dataset, truths, count, name, into))
        yield format_row(name, shown, [engine.recognize(photo.path) for photo in shown])


def main() -> None:
    """Print line after line, each as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="finished run whose dataset has a solution")
    parser.add_argument("--photos", type=int, default=100, help="with two things, of each kind")
    parser.add_argument("--into", type=Path, required=True, help="folder of the pasted photos")
    args = parser.parse_args()
    for line in measure(args.run, args.photos, args.into):
        print(line, flush=True)


if __name__ == "__main__":
    main()
