"""Image files that are odd, broken or hostile: each is used, or on record with its reason."""

import csv
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from embed.shards import read_failures
from index.rows import RowTable
from pipelines.artifacts import load_manifest
from tests.conftest import Tiny
from tests.datasets import QUERIES, cairn, make_dataset, options, view, write_photo
from tests.images import encode, jpeg_without_end, png, png_bomb, with_jpeg_size

PHOTO = view(0, 50)


def animated_gif() -> bytes:
    frames = [Image.fromarray(view(0, number)).quantize() for number in (1, 2)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def sixteen_bit_png() -> bytes:
    # Each 8-bit value v as v * 257, big-endian: the two bytes are the same.
    rows = b"".join(b"\0" + row.repeat(2, axis=-1).tobytes() for row in PHOTO)
    return png(PHOTO.shape[1], PHOTO.shape[0], 16, 2, rows)


BROKEN: dict[str, tuple[Callable[[], bytes] | None, str]] = {
    "missing": (None, "missing"),
    "empty": (lambda: b"", "empty"),
    "truncated": (lambda: jpeg_without_end(encode(PHOTO, "JPEG"), 800), "truncated"),
    "text": (lambda: b"<html>404 not found</html>", "not_an_image"),
    "huge": (lambda: with_jpeg_size(encode(PHOTO, "JPEG"), 40_000, 40_000), "too_large"),
    "gif": (animated_gif, "unsupported_format"),
    "bomb": (lambda: png_bomb(20_000, 20_000), "too_large"),
}
ODD: dict[str, Callable[[], bytes]] = {
    "cmyk": lambda: encode(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    "deep": sixteen_bit_png,
    "grey": lambda: encode(Image.fromarray(PHOTO).convert("L"), "PNG"),
    "Köln, Dom 写真 (1) [x]": lambda: encode(PHOTO, "JPEG", quality=95),
    "without end": lambda: jpeg_without_end(encode(PHOTO, "JPEG")),
}


def spoil(data: Path, image_ids: tuple[str, ...]) -> dict[str, str]:
    """Break the images of these ids, a way each; return the reason to expect by id."""
    expected = {}
    for image_id, (content, reason) in zip(image_ids, BROKEN.values(), strict=False):
        path = data / "images" / f"{image_id}.jpg"
        path.unlink()  # it may be shared with another dataset
        if content is not None:
            path.write_bytes(content())
        expected[image_id] = reason
    return expected


def forget(run: Path) -> None:
    """Let the queries be read again: what was read once is known by its id."""
    for kind in ("embeddings", "features"):
        shutil.rmtree(run / kind / "test")


def check_counts(run: Path, stage: str, failed: int) -> None:
    manifest = load_manifest(run / stage)
    assert manifest is not None
    counts = manifest.counts
    assert counts["failed"] == failed
    assert counts["requested"] == counts["written"] + counts["failed"]


def test_broken_queries_have_an_empty_row_and_a_reason(
    tiny: Tiny, caplog: pytest.LogCaptureFixture
) -> None:
    expected = spoil(tiny.data, QUERIES)
    assert len(expected) == len(BROKEN) == len(QUERIES) - 1
    forget(tiny.run)
    with caplog.at_level(logging.WARNING):
        end = tiny.submit()
    assert end.status == 0, end.err
    failures = read_failures(tiny.run / "embeddings" / "test" / "failures.parquet")
    assert {image_id: reason for image_id, (reason, _) in failures.items()} == expected
    for image_id, (_, message) in failures.items():
        assert f"{image_id}.jpg" in message
    assert "embed test: 7 of 8 images could not be read" in caplog.text
    with (tiny.run / "submission.csv").open(newline="") as file:
        rows = dict(csv.reader(file))
    assert list(rows) == ["id", *sorted(QUERIES)]
    assert {query for query in QUERIES if not rows[query]} == expected.keys()
    table = pq.read_table(tiny.run / "predictions.parquet").to_pylist()
    reasons = {row["query_id"]: row["reason"] for row in table}
    assert all(reasons[query] == failures[query][1] for query in expected)
    for stage in ("embeddings/test", "features/test", "submit"):
        check_counts(tiny.run, stage, failed=7)


def test_a_broken_query_is_the_same_reason_for_descriptors_and_features(tiny: Tiny) -> None:
    expected = spoil(tiny.data, QUERIES[:7])
    forget(tiny.run)
    assert tiny.submit().status == 0
    failures = read_failures(tiny.run / "features" / "test" / "failures.parquet")
    assert {image_id: reason for image_id, (reason, _) in failures.items()} == expected


def test_odd_images_are_accepted_wherever_they_are(finished: Tiny, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "Мои фото, ünd [mehr]")
    for name, content in ODD.items():
        suffix = ".png" if name in {"deep", "grey"} else ".jpg"
        (data / "images" / f"{name}{suffix}").write_bytes(content())
    with (data / "test.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id"], *([name] for name in ODD)])
    (data / "solution.csv").unlink()
    run = tmp_path / "der Lauf (写真)"
    end = cairn("submit", *options(data, run, finished.recipe))
    assert end.status == 0, end.err
    assert read_failures(run / "embeddings" / "test" / "failures.parquet") == {}
    with (run / "submission.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [name for name, _ in rows] == sorted(ODD)
    assert {answer.split(" ")[0] for _, answer in rows} == {"0"}


def test_broken_images_of_database_and_pool_are_left_out(fresh: Tiny) -> None:
    expected = spoil(fresh.data, tuple(f"thing{label}-1" for label in range(6)))
    (fresh.data / "images" / "none0.jpg").write_text("no image")
    assert fresh.submit().status == 0
    for split, count in (("train", len(expected)), ("non_landmark", 1), ("test", 0)):
        check_counts(fresh.run, f"embeddings/{split}", failed=count)
        check_counts(fresh.run, f"features/{split}", failed=count)
    found = read_failures(fresh.run / "embeddings" / "train" / "failures.parquet")
    assert {image_id: reason for image_id, (reason, _) in found.items()} == expected
    indexed = RowTable.load(fresh.run / "index" / "rows.arrow").list_ids()
    assert not set(indexed) & expected.keys()
    assert len(indexed) == 24 - len(expected)
    trained = read_failures(fresh.run / "model" / "failures.parquet")
    assert trained.items() <= found.items()
    check_counts(fresh.run, "model", failed=len(trained))


def test_a_split_without_one_good_image_is_refused_before_anything_is_done(tiny: Tiny) -> None:
    before = load_manifest(tiny.run / "embeddings" / "test")
    for query in QUERIES:
        (tiny.data / "images" / f"{query}.jpg").write_bytes(b"nothing")
    (tiny.data / "test.csv").write_text("id\n" + "\n".join(reversed(QUERIES)) + "\n")
    end = tiny.submit()
    assert end.status == 1
    assert "none of the 8 images of" in end.err
    assert "not_an_image" in end.err
    assert load_manifest(tiny.run / "embeddings" / "test") == before
    for query in QUERIES:
        write_photo(tiny.data, query, PHOTO)
    assert tiny.submit().status == 0


def test_training_without_one_good_image_is_refused(fresh: Tiny) -> None:
    for path in (fresh.data / "images").glob("thing*.jpg"):
        path.write_bytes(b"nothing")
    end = fresh.submit()
    assert end.status == 1
    assert end.err.startswith("error: ")
    assert "not_an_image" in end.err
