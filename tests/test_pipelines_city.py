"""The demo city: same seed, same bytes; consistent tables; exact projection and hiding."""

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.sources.city.camera import look_at
from pipelines.sources.city.contact_sheet import contact_sheet
from pipelines.sources.city.dataset import render_city
from pipelines.sources.city.landmarks import DESIGNS, build
from pipelines.sources.city.plan import CityPlan, long_tail, plan_city
from pipelines.sources.city.raster import SOLID, UNIT, Face, build_texture, draw, new_frame

TINY = CityPlan(
    landmarks=4,
    unseen=2,
    twins=1,
    train=7,
    most=5,
    unseen_photos=2,
    queries=3,
    distractors=3,
    non_landmark=3,
    scale=0.3,
)


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("city")
    render_city(folder, TINY, seed=3, workers=1)
    return folder


def square(color: int, z: float, half: float = 1.0) -> Face:
    """Make a square about the y axis at the distance z that faces the camera at the origin."""
    pixels = np.full((32, 32, 4), color, np.uint8)
    pixels[..., 3] = SOLID
    u, v = np.array([2 * half, 0, 0]), np.array([0, 0, -2 * half])
    return Face(np.array([-half, z, half]), u, v, build_texture(pixels, (2, 2)), UNIT)


def test_same_seed_gives_identical_bytes_with_two_workers(city: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    render_city(tmp_path, TINY, seed=3, workers=2, report=lambda a, b: seen.append((a, b)))
    assert hashes(tmp_path) == hashes(city)
    assert seen[-1] == (20, 20)


def test_other_seed_gives_other_photos() -> None:
    ids = [{s.image_id for s in plan_city(TINY, seed).shots} for seed in (3, 4)]
    assert not ids[0] & ids[1]


def test_interrupted_run_finishes_with_the_same_files(city: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done > total // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_city(tmp_path, TINY, seed=3, workers=1, report=stop)
    assert not (tmp_path / "train.csv").exists()
    started = sorted((tmp_path / "images").iterdir())
    (tmp_path / "images" / f".{started[0].name}.tmp").write_bytes(b"half a photo")
    started[0].unlink()
    kept = {p: p.stat().st_mtime_ns for p in started[1:]}
    render_city(tmp_path, TINY, seed=3, workers=1)
    assert hashes(tmp_path) == hashes(city)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_other_files_in_the_folder_stay(city: Path) -> None:
    note = city / "note.txt"
    note.write_text("mine")
    render_city(city, TINY, seed=3, workers=1)
    assert note.read_text() == "mine"
    note.unlink()


def test_tables_agree_with_each_other_and_with_the_files(city: Path) -> None:
    train, index, test, solution, pool, labels = (
        table(city / f"{name}.csv")
        for name in ("train", "index", "test", "solution", "non_landmark", "labels")
    )
    splits = [{row["id"] for row in rows} for rows in (index, test, pool)]
    assert sum(len(s) for s in splits) == len(set.union(*splits)) == 20
    assert set.union(*splits) == {p.stem for p in (city / "images").iterdir()}
    assert {tuple(r.items()) for r in train} < {tuple(r.items()) for r in index}
    assert [r["id"] for r in solution] == [r["id"] for r in test]
    assert sum(r["landmarks"] == "" for r in solution) == TINY.distractors
    assert {r["Usage"] for r in solution} == {"Public"}
    known = {r["landmark_id"] for r in labels}
    assert {r["landmark_id"] for r in index} == known == {"1", "2", "3", "4"}
    assert {r["landmarks"] for r in solution} - {""} <= known
    assert len({r["landmark_id"] for r in train}) == 2
    assert all(len(r["id"]) == 16 and int(r["id"], 16) >= 0 for r in index + test)


def test_photos_can_be_decoded_and_differ(city: Path) -> None:
    images = [cv2.imread(str(p)) for p in sorted((city / "images").iterdir())]
    assert all(i is not None and i.shape[2] == 3 and i.std() > 4 for i in images)
    assert len(set(hashes(city / "images").values())) == len(images)


def test_default_plan_has_a_long_tail_of_enough_landmarks() -> None:
    plan = CityPlan()
    city = plan_city(plan, 0)
    train = [s.landmark for s in city.shots if s.split == "train"]
    counts = np.unique(train, return_counts=True)[1]
    assert len(city.blueprints) >= 60
    assert (counts.min(), counts.max(), counts.sum()) == (3, 60, plan.train)
    assert np.median(counts) < counts.mean()
    assert not city.unseen & set(train)
    assert len({s.image_id for s in city.shots}) == len(city.shots)
    assert len(set(city.names)) == len(set(city.labels)) == plan.landmarks
    assert {b.kind for b in city.blueprints} == set(DESIGNS)
    assert sum(s.split == "query" for s in city.shots) == plan.queries


@pytest.mark.parametrize(
    ("count", "total"), [(1, 3), (1, 60), (5, 15), (5, 300), (54, 850), (7, 99)]
)
def test_long_tail_meets_its_total(count: int, total: int) -> None:
    counts = long_tail(count, total, 3, 60)
    assert sum(counts) == total and len(counts) == count
    assert counts == sorted(counts, reverse=True)
    assert 3 <= counts[-1] <= counts[0] <= 60


def test_contradictory_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="train 10000 photos of 54 seen landmarks"):
        CityPlan(train=10_000)
    with pytest.raises(ValueError, match="unseen 72"):
        CityPlan(unseen=72)
    with pytest.raises(ValueError, match="workers 0"):
        render_city(Path("nowhere"), TINY, workers=0)


def test_twins_share_their_layout_and_differ_in_detail() -> None:
    first, second = (build(b) for b in plan_city(CityPlan(), 0).blueprints[4:6])
    other = build(plan_city(CityPlan(), 0).blueprints[30])
    assert np.allclose(first.low[:2], second.low[:2], atol=1.0)
    assert np.allclose(first.high[0], second.high[0], atol=1.0)
    assert first.setting == second.setting and first.views == second.views
    assert not np.allclose(first.high, other.high, atol=1.0)
    a, b = (x.faces[0].texture.levels[0] for x in (first, second))
    assert a.shape == b.shape
    assert np.mean(np.abs(a[..., :3].astype(int) - b[..., :3])) > 5


def test_building_twice_gives_equal_faces() -> None:
    blueprint = plan_city(TINY, 1).blueprints[0]
    first, second = (build(blueprint).faces for _ in range(2))
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.origin, b.origin)
        assert np.array_equal(a.texture.levels[0], b.texture.levels[0])


@pytest.mark.parametrize("kind", sorted(DESIGNS))
def test_every_design_stands_on_the_ground(kind: str) -> None:
    plan = plan_city(TINY, 5).blueprints[0]
    building = build(replace(plan, kind=kind))
    extent = building.high - building.low
    assert len(building.faces) > 8
    assert -0.5 < building.low[2] < 0.5
    assert 6 < extent[2] < 70 and extent[0] < 60


def test_unknown_design_is_named() -> None:
    with pytest.raises(ValueError, match="kind 'igloo'"):
        build(replace(plan_city(TINY, 5).blueprints[0], kind="igloo"))


def test_quad_lands_where_the_camera_projects_it() -> None:
    camera = look_at(np.zeros(3), np.array([0.0, 1.0, 0.0]), 100.0, (201, 101))
    frame = new_frame(201, 101)
    draw(frame, camera, [square(200, 10.0)])
    # focal 100, a square of 2 m at 10 m: 20 pixels about the centre (100, 50).
    ys, xs = np.nonzero(frame.face >= 0)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (90, 110, 40, 60)
    assert np.allclose(frame.inverse_depth[ys, xs], 0.1, rtol=1e-5)
    assert np.allclose(camera.project(np.array([[1.0, 10.0, 1.0]])), [[110.0, 40.0]])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearer_quad_hides_the_farther_one(order: tuple[int, int]) -> None:
    camera = look_at(np.zeros(3), np.array([0.0, 1.0, 0.0]), 100.0, (201, 101))
    faces = [square(50, 5.0, 0.25), square(200, 10.0)]
    frame = new_frame(201, 101)
    draw(frame, camera, [faces[k] for k in order])
    assert frame.color[50, 100, 0] == 50
    assert frame.color[50, 92, 0] == 200


def test_quad_through_the_camera_is_cut_at_the_near_plane() -> None:
    camera = look_at(np.array([0.0, 0.0, 1.6]), np.array([0.0, 1.0, 1.6]), 100.0, (201, 101))
    floor = square(90, 0.0)
    floor = replace(
        floor,
        origin=np.array([-50.0, 50.0, 0.0]),
        u=np.array([100.0, 0, 0]),
        v=np.array([0, -100.0, 0]),
    )
    frame = new_frame(201, 101)
    draw(frame, camera, [floor])
    assert (frame.face[55:] == 0).all()
    assert (frame.face[:50] == -1).all()


def test_contact_sheet_shows_a_sample(city: Path, tmp_path: Path) -> None:
    contact_sheet(city, tmp_path / "sheet.png", rows=2, columns=2)
    image = cv2.imread(str(tmp_path / "sheet.png"))
    assert image is not None and image.shape[1] > 400
    with pytest.raises(ValueError, match="landmark 99"):
        contact_sheet(city, tmp_path / "sheet.png", rows=2, columns=2, twins=(99, 1))
    with pytest.raises(ValueError, match="rows 1"):
        contact_sheet(city, tmp_path / "sheet.png", rows=1)
