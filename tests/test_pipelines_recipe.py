"""Recipes: what ships loads, what is wrong is named, bases are followed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.recipe import Recipe, list_recipes, load_recipe, make_recipe


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(ValueError) as caught:
        load_recipe(write(folder, text))
    return str(caught.value)


def test_demo_and_photos_ship() -> None:
    assert {"demo", "photos"} <= set(list_recipes())


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_loads_and_says_what_it_is_for(name: str) -> None:
    assert load_recipe(name).description


def test_the_demo_needs_no_network() -> None:
    assert not load_recipe("demo").train.pretrained


@pytest.mark.parametrize(
    ("text", "key", "closest"),
    [
        ("[trian]\n", "trian", "train"),
        ("descripton = 'x'\n", "descripton", "description"),
        ("[train]\nepoch = 3\n", "train.epoch", "epochs"),
        ("[train.augment]\nrotate = 3\n", "train.augment.rotate", "rotation"),
        ("[decide]\nreject_shares = 1\n", "decide.reject_shares", "reject_share"),
    ],
)
def test_an_unknown_key_names_the_closest(
    text: str, key: str, closest: str, tmp_path: Path
) -> None:
    message = error_of(tmp_path, text)
    assert f"unknown key '{key}'; did you mean '{closest}'?" in message
    assert "mine.toml" in message


def test_an_unknown_key_like_no_other_lists_the_known_ones(tmp_path: Path) -> None:
    message = error_of(tmp_path, "[embed]\nzzz = 3\n")
    assert "unknown key 'embed.zzz'; known: batch_size, shard_size, dtype" in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[train]\nepochs = 'many'\n", "train.epochs = 'many'"),
        ("[train]\nepochs = -1\n", "train.epochs = -1"),
        ("[train]\nepochs = 1.5\n", "train.epochs = 1.5"),
        ("[decide]\npolicy = 'loudest'\n", "decide.policy = 'loudest'"),
        ("[train.augment]\nerase = 2.0\n", "train.augment.erase = 2.0"),
        ("train = 3\n", "train = 3"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(text: str, place: str, tmp_path: Path) -> None:
    assert place in error_of(tmp_path, text)


def test_all_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    message = error_of(tmp_path, "[train]\nepoch = 1\n[embed]\ndtypes = 'x'\n")
    assert "epochs" in message
    assert "dtype" in message


def test_a_base_gives_what_the_recipe_does_not_say(tmp_path: Path) -> None:
    name = write(tmp_path, "base = 'demo'\n[train.augment]\nblur = 0.5\n")
    recipe, demo = load_recipe(name), load_recipe("demo")
    assert recipe.train.augment.blur == 0.5
    assert recipe.train.augment.rotation == demo.train.augment.rotation
    assert recipe.train.epochs == demo.train.epochs
    assert recipe.search == demo.search


def test_a_base_may_have_a_base(tmp_path: Path) -> None:
    middle = write(tmp_path, "base = 'demo'\n[train]\nseed = 5\nepochs = 2\n", "middle.toml")
    top = write(tmp_path, f"base = '{middle}'\n[train]\nepochs = 3\n")
    recipe = load_recipe(top)
    assert (recipe.train.seed, recipe.train.epochs) == (5, 3)
    assert recipe.train.dim == load_recipe("demo").train.dim


@pytest.mark.parametrize("length", [1, 2])
def test_bases_in_a_circle_are_refused(length: int, tmp_path: Path) -> None:
    paths = [tmp_path / f"r{place}.toml" for place in range(length)]
    for path, following in zip(paths, paths[1:] + paths[:1], strict=True):
        path.write_text(f"base = '{following}'\n")
    with pytest.raises(ValueError, match=r"recipes name each other as base: .* -> "):
        load_recipe(str(paths[0]))


@pytest.mark.parametrize("name", ["demos", "nowhere/mine.toml", ""])
def test_a_missing_recipe_lists_those_there_are(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="there are demo, photos"):
        load_recipe(name)


@pytest.mark.parametrize("base", ["3", "['demo']", "true", "{}"])
def test_a_base_that_is_no_name_is_refused(base: str, tmp_path: Path) -> None:
    assert "base" in error_of(tmp_path, f"base = {base}\n")


@pytest.mark.parametrize("content", [b"train: {epochs: 3}", b"[train\n", b"\xff\xfe[train]"])
def test_what_is_not_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.toml is not TOML"):
        load_recipe(str(path))


def test_settings_are_frozen() -> None:
    recipe = load_recipe("demo")
    with pytest.raises(ValidationError, match="frozen"):
        recipe.train.epochs = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        recipe.description = ""  # type: ignore[misc]


def test_the_hash_depends_on_values_alone(tmp_path: Path) -> None:
    demo = load_recipe("demo")
    assert demo.sha256 == load_recipe("demo").sha256
    assert demo.sha256 == make_recipe(demo.model_dump(), "run.json").sha256
    assert demo.sha256 != load_recipe(write(tmp_path, "base = 'demo'\n[train]\nseed = 1\n")).sha256
    first = load_recipe(write(tmp_path, "[train]\nseed = 1\ndim = 8\n"))
    second = load_recipe(write(tmp_path, "[train]\ndim = 8\nseed = 1\n"))
    assert first.sha256 == second.sha256
    assert len(Recipe().sha256) == 64
