"""Explaining photos: one picture each, none lost, and what is explained is what was answered."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer import Exit

from classify_head.settings import EnsembleSettings, MemberSettings
from embed.explain import Score
from embed.model import fingerprint_model
from embed.tensors import normalize, to_tensor
from embed.transforms import resize_image
from embed.views import Views
from pipelines.answers.answer import Answer
from pipelines.answers.photo import Photo
from pipelines.commands.explain import explain
from pipelines.reports.explain import Explainer
from pipelines.reports.explain_figure import Panel, draw_panels, find_extent, pick_path
from rerank.delf.extractor import DelfExtractor
from rerank.delf.model import LocalModel, LocalSpec
from rerank.delf.settings import DelfSettings
from tests.conftest import Tiny
from tests.datasets import texture


@pytest.fixture(scope="module")
def explainer(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    return Explainer(finished.run, into=tmp_path_factory.mktemp("explained"))


def query(tiny: Tiny, number: int) -> Path:
    return tiny.data / "images" / f"q{number}.jpg"


def ask(explainer: Explainer, photo: Path) -> Answer:
    (answer,) = explainer.opened.answer([Photo.of(photo)])
    return answer


def read_score(explainer: Explainer, photo: Path, score: Score) -> float:
    model = explainer.model
    side = model.spec.image_size
    pixels = explainer.opened.describer.decode(photo).pixels
    view = to_tensor(resize_image(pixels, side))[None]
    return float(score(model, normalize(view, model.spec.backbone)).detach()[0])


def test_the_score_that_is_explained_is_the_similarity_of_the_best_match(
    explainer: Explainer, finished: Tiny
) -> None:
    answer = ask(explainer, query(finished, 3))
    subject = explainer._choose_subject(answer)
    assert answer.best is not None
    assert subject.neighbor == answer.best
    found = read_score(explainer, query(finished, 3), subject.score)
    assert found == pytest.approx(answer.best.similarity, abs=1e-4)


def test_what_the_head_alone_named_is_explained_by_its_class(
    explainer: Explainer, finished: Tiny
) -> None:
    answer = ask(explainer, query(finished, 3))
    named = replace(answer, label=4, best=None)
    assert explainer._choose_subject(named).title == "the head's class Thing 4"
    refused = replace(answer, label=None, reason="unsure", best=None)
    assert explainer._choose_subject(refused).neighbor == answer.neighbors[0]


def test_where_the_head_alone_answers_its_class_is_explained(
    explainer: Explainer, finished: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainer, "head_answers", True)
    answer = ask(explainer, query(finished, 3))
    assert answer.best is not None  # a neighbour of that class is there, and said nothing
    subject = explainer._choose_subject(answer)
    assert subject.title == f"the head's class {answer.best.name}"


def test_of_an_ensemble_the_first_model_is_explained(tiny: Tiny) -> None:
    member = tiny.run / "members" / "one"
    member.mkdir(parents=True)
    for name in ("model", "embeddings"):
        (member / name).symlink_to(tiny.run / name, target_is_directory=True)
    explainer = Explainer(tiny.run)
    answer = ask(explainer, query(tiny, 3))
    ensemble = EnsembleSettings(members={"one": MemberSettings()})
    recipe = explainer.opened.recipe.model_copy(update={"ensemble": ensemble})
    explainer.opened = replace(explainer.opened, recipe=recipe)
    subject = explainer._choose_subject(answer)
    assert answer.best is not None
    assert subject.title == f"the first model's similarity to {answer.best.image_id}"
    found = read_score(explainer, query(tiny, 3), subject.score)
    assert found == pytest.approx(answer.best.similarity, abs=1e-4)


def test_a_photo_its_neighbour_and_both_maps_are_shown(
    explainer: Explainer, finished: Tiny
) -> None:
    answer = ask(explainer, query(finished, 2))
    panels = explainer._make_panels(query(finished, 2), answer, explainer._choose_subject(answer))
    assert [panel.title.split(":")[0] for panel in panels] == [
        f"Thing 2, confidence {answer.confidence:.3f}",
        "Neighbour",
        "Saliency",
        "Grad-CAM",
    ]
    for panel in panels[2:]:
        assert panel.heat is not None
        assert panel.heat.shape == (32, 32)
        assert panel.heat.max() > 0


def test_the_maps_of_a_fitted_photo_have_its_shape(
    explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "wide.png"
    Image.fromarray(texture(0)).resize((300, 100)).save(photo)
    fitted = replace(explainer.first, views=Views(square="fit"))
    monkeypatch.setattr(explainer, "first", fitted)
    answer = ask(explainer, photo)
    subject = explainer._choose_subject(answer)
    panels = explainer._make_panels(photo, answer, subject)
    shapes = [panel.heat.shape for panel in panels if panel.heat is not None]
    assert shapes == [(32, 64), (32, 64)]
    assert find_extent((100, 300), "fit") == find_extent((100, 300), "squeeze")


def test_the_attention_of_delf_is_shown_where_the_run_has_it(finished: Tiny) -> None:
    explainer = Explainer(finished.run)
    assert explainer._delf is None
    model = explainer.model
    level, settings = model.backbone.find_level(16), DelfSettings(dim=8, scales=(1.0,))
    spec = LocalSpec(fingerprint_model(model), 16, level.channels, 0.0, settings.hidden, 8)
    answer = ask(explainer, query(finished, 0))
    extractor = DelfExtractor(model, LocalModel(spec), settings)
    describer = replace(explainer.opened.describer, extractor=extractor)
    explainer.opened = replace(explainer.opened, describer=describer)
    explainer.__dict__.pop("_delf")
    panels = explainer._make_panels(query(finished, 0), answer, explainer._choose_subject(answer))
    assert panels[-1].title == "Attention of DELF, whatever the answer"
    assert panels[-1].heat is not None
    assert panels[-1].heat.min() > 0


def test_a_class_of_the_head_is_explained_on_demand(finished: Tiny, tmp_path: Path) -> None:
    explainer = Explainer(finished.run, into=tmp_path, landmark_id=5)
    explained = explainer.explain(query(finished, 1))
    assert explained.subject == "the head's class Thing 5"
    assert explained.path == tmp_path / "q1.png"


def test_a_class_that_the_head_does_not_have_is_refused(finished: Tiny) -> None:
    with pytest.raises(ValueError, match="has no class 77; it has 6, the first are 0, 1, 2, 3, 4"):
        Explainer(finished.run, landmark_id=77)


def test_unread_photos_are_told_and_the_others_done(
    finished: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("hello")
    with pytest.raises(Exit) as end:
        explain([broken, query(finished, 0)], run=finished.run, into=tmp_path / "pictures")
    assert end.value.exit_code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{broken}: not read: ")
    assert lines[1].endswith(f"wrote {tmp_path / 'pictures' / 'q0.png'}")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["q0.png"]


def test_pictures_go_into_the_run_and_two_are_equal(tiny: Tiny) -> None:
    explainer = Explainer(tiny.run)
    first = explainer.explain(query(tiny, 4)).path
    assert first == tiny.run / "explain" / "q4.png"
    before = first.read_bytes()
    assert explainer.explain(query(tiny, 4)).path == first
    assert first.read_bytes() == before


def test_another_photo_of_the_same_name_keeps_its_picture(finished: Tiny, tmp_path: Path) -> None:
    folder, panel = tmp_path / "pictures", Panel("", np.zeros((4, 4, 3), dtype=np.uint8))
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "mine.png")  # somebody's own
    (folder / "mine-2.png").write_text("no picture at all")
    names = []
    for number in (0, 1, 0):
        (tmp_path / str(number)).mkdir(exist_ok=True)
        photo = Path(shutil.copy(query(finished, number), tmp_path / f"{number}/mine.jpg"))
        names.append(pick_path(folder, photo))
        draw_panels([panel], "squeeze", photo, names[-1])
    assert [path.name for path in names] == ["mine-3.png", "mine-4.png", "mine-3.png"]
    assert (folder / "mine-2.png").read_text() == "no picture at all"


def test_without_its_dataset_a_run_explains_without_the_neighbour(
    tiny: Tiny, tmp_path: Path
) -> None:
    photo = Path(shutil.copy(query(tiny, 0), tmp_path / "mine.jpg"))
    explainer = Explainer(tiny.run, into=tmp_path)
    shutil.rmtree(tiny.data)
    explained = explainer.explain(photo)
    assert explained.path is not None
    assert explained.subject.startswith("similarity")


def test_names_that_look_like_formulas_are_drawn(tmp_path: Path) -> None:
    pixels = np.zeros((20, 90, 3), dtype=np.uint8)
    photo = tmp_path / "x.jpg"
    Image.fromarray(pixels).save(photo)
    panel = Panel("$\\frac{1$ of " + "x" * 400, pixels, np.zeros((4, 4), dtype=np.float32), 0.0)
    draw_panels([panel], "crop", photo, pick_path(tmp_path, photo))
    with Image.open(tmp_path / "x.png") as image:
        assert min(image.size) > 100


@pytest.mark.parametrize("size", [(4, 10), (11, 4), (7, 7), (5, 8)])
def test_the_extent_of_a_crop_is_the_part_that_the_network_sees(size: tuple[int, int]) -> None:
    y, x = np.indices(size)
    pixels = np.stack([y, x, 0 * y], axis=-1).astype(np.uint8)
    seen = resize_image(pixels, min(size), "crop")
    left, right, bottom, top = find_extent(size, "crop")
    assert (top + 0.5, left + 0.5) == tuple(seen[0, 0, :2])
    assert (bottom - 0.5, right - 0.5) == tuple(seen[-1, -1, :2])
    assert find_extent(size, "squeeze") == (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)


def test_names_in_any_script_are_drawn_without_a_warning(tmp_path: Path) -> None:
    pixels = np.zeros((20, 90, 3), dtype=np.uint8)
    photo = tmp_path / "x.jpg"
    Image.fromarray(pixels).save(photo)
    panels = [Panel(title, pixels) for title in ("Café Ελλάδα", "naïve 照片", "a\x00\udce9")]
    draw_panels(panels, "crop", photo, pick_path(tmp_path, photo))
    assert (tmp_path / "x.png").is_file()
