"""A run as people use it from Python: any image, parts of it, threads, a changing database."""

import io
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipelines
from embed.decode import ImageError
from embed.errors import InputError, MissingFileError
from embed.image_file import FileSlice
from pipelines import ImageSource, Photo, Recognizer
from tests.conftest import Tiny
from tests.datasets import LANDMARKS, cairn, view
from tests.journal import write_views

MILL = 50  # a landmark that no dataset here has


@pytest.fixture(scope="module")
def recognizer(finished: Tiny) -> Recognizer:
    return Recognizer.load(finished.run)


def query(tiny: Tiny, number: int) -> Path:
    return tiny.data / "images" / f"q{number}.jpg"


def test_a_photo_is_the_same_in_any_form(recognizer: Recognizer, finished: Tiny) -> None:
    path = query(finished, 2)
    expected = recognizer.recognize(path)
    data = path.read_bytes()
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
        forms: list[ImageSource] = [str(path), data, FileSlice(path, 0, len(data)), image, pixels]
        answers = recognizer.recognize(forms)
    assert [answer.image for answer in answers[:2]] == [str(path), "photo"]
    for answer in answers:
        assert (answer.label, answer.name) == (2, "Thing 2") == (expected.label, expected.name)
        assert answer.confidence == pytest.approx(expected.confidence, abs=1e-3)
        assert [near.image_id for near in answer.neighbors] == [
            near.image_id for near in expected.neighbors
        ]


def test_one_photo_is_one_answer_and_several_are_as_many(
    recognizer: Recognizer, finished: Tiny
) -> None:
    paths = [query(finished, number) for number in range(3)]
    together = recognizer.recognize(paths)
    alone = [recognizer.recognize(path) for path in paths]
    assert [answer.label for answer in together] == [answer.label for answer in alone] == [0, 1, 2]
    for one, other in zip(together, alone, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)
        assert one.image == other.image
    assert recognizer.recognize([]) == []
    assert len(recognizer.recognize(tuple(paths[:1]))) == 1


def test_what_cannot_be_read_is_an_answer_beside_the_others(
    recognizer: Recognizer, finished: Tiny, tmp_path: Path
) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    images: list[ImageSource] = [
        tmp_path / "page.jpg",
        b"",
        query(finished, 1),
        tmp_path / "gone.jpg",
    ]
    page, empty, good, gone = recognizer.recognize(images)
    assert good.label == 1 and not good.error
    assert "(not_an_image)" in page.error and "(empty)" in empty.error and "(missing)" in gone.error
    for answer in (page, empty, gone):
        assert (answer.label, answer.top, answer.neighbors, answer.region) == (None, (), (), ())


def test_likeliest_labels_come_with_the_answer(recognizer: Recognizer, finished: Tiny) -> None:
    answer = recognizer.recognize(query(finished, 0))
    labels = [candidate.label for candidate in answer.top]
    assert labels[0] == answer.guess == 0
    assert len(set(labels)) == len(labels) <= 5
    assert answer.top[0].name == "Thing 0"


def test_probabilities_of_the_calibrated_decision_sum_to_one_at_most(calibrated: Tiny) -> None:
    for answer in Recognizer.load(calibrated.run).recognize(
        [query(calibrated, number) for number in range(4)]
    ):
        probabilities = [candidate.probability for candidate in answer.top]
        known = [probability for probability in probabilities if probability is not None]
        assert known == sorted(known, reverse=True) and sum(known) <= 1 + 1e-9
        assert known[0] == pytest.approx(answer.confidence)


def test_votes_of_neighbours_sum_to_those_of_their_label(
    recognizer: Recognizer, finished: Tiny
) -> None:
    answer = recognizer.recognize(query(finished, 3), neighbors=1000)
    for candidate in answer.top:
        mine = [near.votes for near in answer.neighbors if near.label == candidate.label]
        assert sum(mine) == pytest.approx(candidate.votes)


def test_the_region_lies_within_the_photo_where_it_was_verified(
    recognizer: Recognizer, finished: Tiny
) -> None:
    path = query(finished, 1)
    answer = recognizer.recognize(path)
    assert answer.best is not None and answer.best.verified and len(answer.region) >= 3
    with Image.open(path) as image:
        width, height = image.size
    assert all(0 <= x <= width and 0 <= y <= height for x, y in answer.region)
    found = recognizer.compare(path, answer.best.image_id)
    assert found is not None and found.verified and found.size == (width, height)
    corners = {(round(x, 3), round(y, 3)) for x, y in found.points.tolist()}
    assert {(round(x, 3), round(y, 3)) for x, y in answer.region} <= corners
    assert len(found.points) == len(found.stored_points) == answer.best.inliers


def test_a_part_of_a_photo_is_answered_as_a_photo_of_it(
    recognizer: Recognizer, finished: Tiny, tmp_path: Path
) -> None:
    sides = [Image.fromarray(view(landmark, 7)) for landmark in (0, 3)]
    width, height = sides[0].size
    both = Image.new("RGB", (2 * width, height))
    for place, side in enumerate(sides):
        both.paste(side, (place * width, 0))
    both.save(tmp_path / "both.png")
    for place, landmark in enumerate((0, 3)):
        box = (place * width, 0, (place + 1) * width, height)
        answer = recognizer.recognize(tmp_path / "both.png", box=box)
        alone = recognizer.recognize(sides[place])
        assert answer.label == landmark == alone.label
        assert answer.confidence == pytest.approx(alone.confidence, abs=1e-4)
        moved = [(x + place * width, y) for x, y in alone.region]
        np.testing.assert_allclose(answer.region, moved, atol=0.5)
    outside = recognizer.recognize(tmp_path / "both.png", box=(9000, 0, 9100, 50))
    assert "is outside of an image" in outside.error
    with pytest.raises(TypeError, match="a box is of a single photo"):
        recognizer.recognize([tmp_path / "both.png"], box=(0, 0, 9, 9))  # type: ignore[call-overload]
    (named,) = recognizer.recognize([Photo.of(both, "mine", (0, 0, width, height))])
    assert (named.image, named.label) == ("mine", 0)


def test_nearest_photos_are_those_of_the_search(recognizer: Recognizer, finished: Tiny) -> None:
    near = recognizer.neighbors(finished.data / "images" / "thing2-1.jpg", 4)
    assert near[0].image_id == "thing2-1" and near[0].similarity == pytest.approx(1, abs=1e-4)
    assert [each.rank for each in near] == [0, 1, 2, 3]
    similarities = [each.similarity for each in near]
    assert similarities == sorted(similarities, reverse=True)
    everything = recognizer.neighbors(query(finished, 0), 10_000)
    assert len(everything) == sum(each.photos for each in recognizer.landmarks())
    with pytest.raises(ValueError, match="k is 0"):
        recognizer.neighbors(query(finished, 0), 0)
    with pytest.raises(ImageError, match="missing"):
        recognizer.neighbors(finished.data / "nowhere.jpg")


def test_photos_of_any_form_are_added_and_removed(tiny: Tiny, tmp_path: Path) -> None:
    asked = write_views(tmp_path / "asked", MILL, [9])[0]
    paths = write_views(tmp_path / "mill", MILL, range(3))
    with Recognizer.load(tiny.run) as recognizer:
        before, known = recognizer.recognize(asked), recognizer.landmarks()
        assert before.label is None and len(known) == LANDMARKS
        with Image.open(paths[1]) as image:
            done = recognizer.add([paths[0], image, paths[2].read_bytes()], name="Old mill")
        assert not done.failures and [len(ids) for ids in done.added.values()] == [3]
        answer = recognizer.recognize(asked)
        assert answer.name == "Old mill" and answer.label is not None
        (mill,) = [each for each in recognizer.landmarks() if each.name == "Old mill"]
        assert (mill.label, mill.photos) == (answer.label, 3)
        assert recognizer.add(paths[0], label=mill.label).known  # it has it
        (ids,) = done.added.values()
        recognizer.remove(images=ids[0])
        recognizer.remove(mill.label)
        assert recognizer.recognize(asked) == before and recognizer.landmarks() == known
        with pytest.raises(InputError, match="no photo of landmark 777"):
            recognizer.remove(777)
        with pytest.raises(TypeError, match="say what the photos show"):
            recognizer.add(paths[0])
        with pytest.raises(TypeError, match="say what goes"):
            recognizer.remove()


def test_a_folder_of_photos_is_added(tiny: Tiny, tmp_path: Path) -> None:
    write_views(tmp_path / "mill", MILL, range(3))
    done = Recognizer.load(tiny.run).add(tmp_path / "mill", name="Old mill")
    assert [len(ids) for ids in done.added.values()] == [3]


def test_whoever_closed_it_loads_it_again(finished: Tiny) -> None:
    recognizer = Recognizer.load(finished.run)
    recognizer.close()
    with pytest.raises(RuntimeError, match="load the run again"):
        recognizer.recognize(query(finished, 0))
    with pytest.raises(MissingFileError, match="no run in"):
        Recognizer.load(finished.run / "nothing")


def test_threads_share_one_while_others_change_the_database(tiny: Tiny, tmp_path: Path) -> None:
    """Each answer is of a database with all photos of the mill, or with none."""
    asked = write_views(tmp_path / "asked", MILL, [9])[0]
    photos = write_views(tmp_path / "mill", MILL, range(3))
    recognizer = Recognizer.load(tiny.run)
    seen: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            answer = recognizer.recognize(asked, neighbors=1000)
            seen.append(sum(near.label == LANDMARKS for near in answer.neighbors))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            (landmark,) = recognizer.add([*photos], name="Old mill").added
            recognizer.remove(landmark.label)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert set(seen) <= {0, 3} and seen


def test_an_answer_becomes_json_that_reads_well(recognizer: Recognizer, finished: Tiny) -> None:
    answer = recognizer.recognize(query(finished, 0))
    values = json.loads(json.dumps(answer.to_json()))
    assert values["label"] == 0 and values["latitude"] is None
    assert values["confidence"] == round(answer.confidence, 6)
    assert values["region"][0] == [round(x, 6) for x in answer.region[0]]
    assert len(values["neighbors"]) == len(answer.neighbors)


def test_other_columns_of_labels_come_with_the_answer(tiny: Tiny) -> None:
    labels = tiny.data / "labels.csv"
    rows = [f"{n},Thing {n},{10 + n}.5,{-n},ü{n}" for n in range(LANDMARKS)]
    labels.write_text("\n".join(["landmark_id,name,latitude,longitude,town", *rows]))
    assert cairn("index", "--run", tiny.run, "--data", tiny.data, "--workers", 0).status == 0
    answer = Recognizer.load(tiny.run).recognize(query(tiny, 3))
    assert (answer.latitude, answer.longitude, answer.details["town"]) == (13.5, -3.0, "ü3")
    values = answer.to_json()
    assert (values["latitude"], values["details"]["town"]) == (13.5, "ü3")


def test_the_package_offers_what_it_lists() -> None:
    for name in pipelines.__all__:
        assert getattr(pipelines, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        pipelines.nothing  # noqa: B018


def test_a_pillow_image_is_turned_upright(recognizer: Recognizer, finished: Tiny) -> None:
    with Image.open(query(finished, 2)) as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by 90 degrees clockwise to be shown
        written = io.BytesIO()
        image.rotate(90, expand=True).save(written, "PNG", exif=exif)
        written.seek(0)
        with Image.open(written) as turned:
            assert recognizer.recognize(turned).label == 2


def test_what_is_added_is_what_would_be_asked_about(tiny: Tiny, tmp_path: Path) -> None:
    """Of a part of a photo, of transparency and of 16 bits the same pixels are kept."""
    recognizer = Recognizer.load(tiny.run)
    seen = Image.fromarray(view(MILL, 1))
    clear = seen.convert("RGBA")
    clear.putalpha(
        Image.fromarray(np.tile(np.array([0, 255], dtype=np.uint8), (seen.height, seen.width // 2)))
    )
    grey = np.asarray(seen.convert("L"), dtype=np.uint16) << 8
    wide = Image.fromarray(grey)
    box = (10, 10, seen.width - 10, seen.height - 10)
    photos = {"clear": Photo.of(clear), "wide": Photo.of(wide), "part": Photo.of(seen, box=box)}
    for name, image in photos.items():
        ((landmark, ids),) = recognizer.add([image], name=name).added.items()
        near = recognizer.neighbors(image, 1)[0]
        assert (near.image_id, near.label) == (ids[0], landmark.label)
        assert near.similarity == pytest.approx(1, abs=1e-3)
