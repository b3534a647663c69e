"""Damage the files of a finished run, and load them as the commands do. For tests and figures.

Writes into the run that it is given.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embed.errors import InputError
from pipelines.answers.decision import load_known_answers
from pipelines.answers.open_run import load_split_embeddings, load_split_failures, open_features
from pipelines.artifacts import load_manifest
from pipelines.recognizer import Recognizer
from pipelines.reports.match_figures import find_best_matches
from pipelines.reports.page.album import open_album
from pipelines.reports.page.answers import read_answers
from pipelines.reports.page.run_report import collect_report
from pipelines.reports.run_figures import load_training, write_predictions
from pipelines.runs import integrity
from pipelines.runs.job import open_job
from pipelines.scores.ablate import load_stored
from pipelines.scores.evaluate import evaluate_run

Random = np.random.Generator
OUTCOMES = ("refused", "loaded", "raw")


def list_loaded(run: Path) -> list[Path]:
    """Return the files of a run that commands load: no pictures, pages or lists for people.

    Failures of model/ and features/ are written for people, too.
    """
    found = []
    for path in sorted(run.rglob("*")):
        folder = path.relative_to(run).parts[0]
        for_people = path.name == "failures.parquet" and folder != "embeddings"
        outside = path.parent == run and path.name not in LOADED
        if path.is_file() and not (path.suffix in {".png", ".jpg"} or for_people or outside):
            found.append(path)
    return found


LOADED = {
    *("run.json", "submission.csv", "predictions.parquet", "neighbors.parquet"),
    *("verified.parquet", "evidence.parquet"),
}


def load_parts(run: Path) -> None:
    """Read all descriptors and local features, as stages index and submit do."""
    recipe = open_job(None, run, None, None).recipe
    for folder in sorted((run / "embeddings").iterdir()):
        load_split_embeddings(run, folder.name)
        load_split_failures(run, folder.name)
    for folder in sorted((run / "features").iterdir()):
        store = open_features(run, folder.name, recipe)
        assert store is not None
        for image_id in load_split_embeddings(run, folder.name).ids:
            store.get(image_id)


def load_query(run: Path) -> None:
    """Open the run as `cairn query --min-precision` and the curves of a training do."""
    Recognizer.load(run)
    load_known_answers(run)
    load_training(run)


def load_answers(run: Path) -> None:
    """Read what was submitted, as evaluate, ablate, report and run do."""
    job = open_job(None, run, None, None)
    load_stored(job)
    answers = read_answers(run, None)
    open_album(job, answers.answers.query_ids)
    find_best_matches(job, answers)
    write_predictions(run)
    collect_report(job, evaluate_run(run, job.dataset))


STEPS: dict[str, Callable[[Path], None]] = {
    "parts": load_parts,
    "query": load_query,
    "answers": load_answers,
}


def load_all(run: Path, changed: Path) -> None:
    """Load all that commands load, first what loads the changed file: so an error comes early."""
    integrity.forget_hashes()  # files change here faster than their times
    place = changed.relative_to(run).parts
    first = "answers" if len(place) == 1 or place[0] == "submit" else "query"
    first = "parts" if place[0] in {"embeddings", "features"} else first
    for name in sorted(STEPS, key=lambda name: name != first):
        STEPS[name](run)


def flip_bit(content: bytes, rng: Random) -> bytes:
    """Flip one bit."""
    changed = bytearray(content)
    place = int(rng.integers(8 * len(content)))
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def cut(content: bytes, rng: Random) -> bytes:
    """Lose the end."""
    return content[: rng.integers(len(content))]


def zero(content: bytes, rng: Random) -> bytes:
    """Overwrite up to 4096 bytes with zeros, as a lost block of a disk is read."""
    start = int(rng.integers(len(content)))
    size = min(int(rng.integers(1, 4097)), len(content) - start)
    return content[:start] + bytes(size) + content[start + size :]


def append(content: bytes, rng: Random) -> bytes:
    """Add up to 64 bytes."""
    return content + rng.bytes(int(rng.integers(1, 65)))


def swap(content: bytes, rng: Random) -> bytes:
    """Swap two blocks of up to 512 bytes."""
    size = min(int(rng.integers(1, 513)), len(content) // 2)
    a = int(rng.integers(len(content) - 2 * size + 1))
    b = int(rng.integers(a + size, len(content) - size + 1))
    blocks = content[a : a + size], content[b : b + size]
    return content[:a] + blocks[1] + content[a + size : b] + blocks[0] + content[b + size :]


CHANGES = {"bit": flip_bit, "cut": cut, "zeros": zero, "added": append, "swapped": swap}
KINDS = (*CHANGES, "another")  # the file of the same name of another run


@dataclass(frozen=True)
class Damage:
    """One file, changed."""

    path: Path
    kind: str
    content: bytes


def draw_damages(run: Path, other: Path, count: int, seed: int) -> Iterator[Damage]:
    """Yield so many damages, files and kinds in turn; what changes nothing is drawn again."""
    rng, files = np.random.default_rng(seed), list_loaded(run)
    done = 0
    while done < count:
        path, kind = files[rng.integers(len(files))], KINDS[rng.integers(len(KINDS))]
        before = path.read_bytes()
        after = before
        if kind in CHANGES:
            after = CHANGES[kind](before, rng) if len(before) > 1 else before
        elif (twin := other / path.relative_to(run)).is_file() and not says_the_same(path, twin):
            after = twin.read_bytes()
        if after != before:
            done += 1
            yield Damage(path, kind, after)


def says_the_same(path: Path, twin: Path) -> bool:
    """Tell whether two manifests are of the same content: they differ in seconds or recipe."""
    if path.name != "manifest.json":
        return False
    first, second = load_manifest(path.parent), load_manifest(twin.parent)
    return bool(first and second and first.content == second.content)


def try_damage(run: Path, damage: Damage) -> tuple[str, str]:
    """Damage a file, load the run, mend the file; return one of OUTCOMES, and what was said."""
    before = damage.path.read_bytes()
    damage.path.write_bytes(damage.content)
    try:
        load_all(run, damage.path)
    except InputError as error:
        return _judge(run, damage, str(error))
    except Exception as error:
        return "raw", f"{type(error).__name__}: {error}"
    finally:
        damage.path.write_bytes(before)
    return "loaded", ""


def _judge(run: Path, damage: Damage, message: str) -> tuple[str, str]:
    """An error counts if it names the file; of a manifest of another run, what it contradicts."""
    named = damage.path.name in message
    if damage.kind == "another" and damage.path.suffix == ".json":
        named = str(run) in message
    explained = named and "cairn " in message
    return ("refused" if explained else "raw"), message


def count_outcomes(
    run: Path, other: Path, count: int, seed: int
) -> tuple[Counter[tuple[str, str, str]], list[str]]:
    """Try damages; return how often each (file, kind, outcome) was, and what was not refused."""
    found: Counter[tuple[str, str, str]] = Counter()
    wrong = []
    for damage in draw_damages(run, other, count, seed):
        outcome, message = try_damage(run, damage)
        name = str(damage.path.relative_to(run))
        found[name, damage.kind, outcome] += 1
        if outcome != "refused":
            wrong.append(f"{name}, {damage.kind}: {outcome} {message}")
    return found, wrong
