"""The recipes of the five reports: their published numbers, and the commands that show recipes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classify_head.policies import POLICIES
from embed.backbone import check_backbone
from embed.network_settings import SubcenterHeadSettings
from pipelines.commands.recipes import check, list_, show
from pipelines.datasets.selection.settings import SIZES, Filters, make_split
from pipelines.runs.differences import list_differences
from pipelines.runs.recipe import Recipe, Scale, load_recipe, member_recipe
from pipelines.runs.recipe_files import list_recipes

REPORTS = ("torino", "balanced-ensemble", "facenet-hadamard", "se-attention", "xception-bilinear")
SCALES: tuple[Scale, ...] = ("full", "small")

# What each report says of its own system, as it is in the checklist of docs/reports.md.
NUMBERS: dict[str, dict[str, Any]] = {
    "torino": {
        "data.ids": "1000:1300",
        "train.backbone": "resnet50",
        "train.image_size": 128,
        "train.batch_size": 128,
        "train.epochs": 10,
        "train.optimizer": "sgd",
        "train.learning_rate": 0.01,
        "train.schedule": "step",
        "train.step_epochs": 8,
        "train.decay": 0.1,
        "train.augment.rotation": 20.0,
        "train.triplet_weight": 0.0,
        "rerank.of": "predicted-class",
        "rerank.matching": "aggregated",
        "rerank.nearest": 10,
        "rerank.delf.dim": 40,
        "decide.policy": "torino",
        "decide.rejected": "empty",
    },
    "balanced-ensemble": {
        "data.min_count": 10,
        "data.split": "per-class",
        "data.validation": 2.0,
        "train.backbone": "resnet50",
        "train.image_size": 224,
        "train.schedule": "plateau",
        "train.decay": 0.2,
        "train.balance.cap": 120,
        "train.balance.upsample_to": 60,
        "embed.square": "crop",
        "ensemble.rule": "majority",
        "decide.policy": "head",
    },
    "facenet-hadamard": {
        "train.backbone": "resnet50",
        "train.image_size": 197,
        "train.input_norm": True,
        "train.metric_loss": "triplet",
        "train.head.kind": "hadamard",
        "decide.policy": "knn-sum",
    },
    "se-attention": {
        "data.min_count": 50,
        "data.validation": 0.06,
        "data.test": 0.04,
        "train.image_size": 128,
        "train.batch_size": 256,
        "train.optimizer": "sgd",
        "train.learning_rate": 0.01,
        "train.momentum": 0.9,
        "train.weight_decay": 1e-4,
        "train.step_epochs": 20,
        "train.decay": 0.1,
        "rerank.candidates": 20,
        "rerank.nearest": 10,
        "rerank.max_distance": 0.8,
        "rerank.model": "affine",
        "rerank.max_iterations": 1000,
        "rerank.delf.dim": 30,
        "decide.policy": "se-attention",
        "decide.rejected": "empty",
    },
    "xception-bilinear": {
        "data.min_count": 100,
        "data.split": "random",
        "train.backbone": "legacy_xception",
        "train.freeze.first_tensors": 85,
        "train.attention.kind": "self",
        "train.pooling.kind": "bilinear",
        "train.pooling.bilinear_dim": 8192,
        "train.optimizer": "adam",
        "train.learning_rate": 3e-4,
        "train.batch_size": 64,
        "train.epochs": 20,
        "train.epoch_steps": 15000,
        "rerank.method": "none",
        "decide.policy": "head",
    },
}


def look_up(recipe: Recipe, key: str) -> Any:
    found: Any = recipe
    for part in key.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_a_recipe_has_the_numbers_of_its_report(name: str) -> None:
    recipe = load_recipe(name)
    assert {key: look_up(recipe, key) for key in NUMBERS[name]} == NUMBERS[name]


@pytest.mark.parametrize("name", REPORTS)
def test_a_recipe_says_what_it_reproduces_and_where_it_differs(name: str) -> None:
    report = load_recipe(name).report
    assert report.title and report.authors and report.differs


@pytest.mark.parametrize("name", REPORTS)
def test_small_takes_any_data_on_a_laptop(name: str) -> None:
    recipe = load_recipe(name, "small")
    members = [member_recipe(recipe, each) for each in recipe.ensemble.members] or [recipe]
    assert recipe.data.make_filters() in (Filters(), Filters(min_count=2))
    for train in (member.train for member in members):
        assert train.backbone == "mobilenetv2_100"
        assert 96 <= train.image_size <= 160
        assert (train.batch_size or train.classes_per_batch * train.images_per_class) == 32
        assert train.freeze_batch_norm  # weights may come with norms that are folded away
        assert train.precision != "auto"  # two runs must give the same figures
        assert train.epochs * len(members) <= 36


def test_torino_splits_as_its_report() -> None:
    assert load_recipe("torino").data.make_split() == make_split("by-size", 0.2, sizes=SIZES)


def test_the_members_of_balanced_ensemble_see_three_sets() -> None:
    recipe = load_recipe("balanced-ensemble")
    balances = [member_recipe(recipe, name).train.balance for name in recipe.ensemble.members]
    assert [balance.set_number for balance in balances] == [0, 1, 2]
    assert {balance.cap for balance in balances} == {120}


def test_one_member_of_se_attention_has_the_attention() -> None:
    recipe = load_recipe("se-attention")
    members = {name: member_recipe(recipe, name).train for name in recipe.ensemble.members}
    kinds = {train.backbone: train.attention.kind for train in members.values()}
    assert kinds == {"seresnet50": "none", "resnet101": "none", "seresnext50_32x4d": "se"}


@pytest.mark.parametrize("rule", ["highest", "boost", "mean", "agreeing-mean"])
def test_the_members_of_se_attention_take_each_rule(rule: str) -> None:
    assert load_recipe("se-attention", changes=[f"ensemble.rule={rule}"]).ensemble.rule == rule


def test_the_corrected_ensemble_has_the_larger_set_of_classes_first() -> None:
    for scale in SCALES:
        recipe = load_recipe("se-attention-corrected", scale)
        large, small = (member_recipe(recipe, name) for name in recipe.ensemble.members)
        assert recipe.ensemble.rule == "corrected"
        assert large.train.balance.min_count < small.train.balance.min_count


def test_the_stages_are_three_epochs_of_the_head_and_then_more() -> None:
    first, second = load_recipe("se-attention-phases").train.phases
    assert (first.epochs, first.freeze and first.freeze.last_convolutions) == (3, 0)
    assert second.freeze is not None and second.freeze.last_convolutions > 0


def test_landmarks_has_what_the_winners_of_2020_and_2021_share() -> None:
    recipe = load_recipe("landmarks")
    train, head = recipe.train, recipe.train.head
    assert (train.pooling.kind, train.dim, train.sampler) == ("gem", 512, "class-balanced")
    assert isinstance(head, SubcenterHeadSettings) and train.triplet_weight > 0
    assert (head.centers, head.margin, head.least_margin, train.head_scale) == (3, 0.5, 0.05, 45)
    sides = [phase.image_size or train.image_size for phase in train.phases]
    assert sides == sorted(set(sides)) and len(sides) == 3
    assert POLICIES[recipe.decide.policy].source.startswith("2020 1st place")
    backbones = [member_recipe(recipe, name).train.backbone for name in recipe.ensemble.members]
    assert len({name.split("_")[0] for name in backbones}) == len(backbones) == 2
    for name in backbones:
        check_backbone(name, published=True)
        assert not any(side % 14 for side in sides)  # of the ViT's patches


def test_landmarks_takes_minutes_at_small_scale() -> None:
    recipe = load_recipe("landmarks", "small")
    members = [member_recipe(recipe, name).train for name in recipe.ensemble.members]
    for train in members:
        assert (
            train.image_size <= 128 and train.precision != "auto" and train.head.kind == "subcenter"
        )
        assert [phase.image_size for phase in train.phases] == [96, None]
    assert {train.backbone for train in members} == {"mobilenetv2_100"}  # of one weights file
    assert len({train.seed for train in members}) == 2
    assert sum(train.epochs for train in members) <= 12


def changes_of(file: str) -> list[str]:
    """Return the changes that the comments of a recipe name, first values alone."""
    folder = Path(str(list_.__code__.co_filename)).parents[1] / "recipes"
    lines = [line for line in (folder / file).read_text().splitlines() if line[:1] == "#"]
    words = [word.rstrip(",") for line in lines for word in line.split()]
    return [word for word in words if word.partition("=")[2] and "." in word.partition("=")[0]]


@pytest.mark.parametrize("name", [*REPORTS, "se-attention-single", "landmarks"])
def test_each_change_that_a_comment_names_is_valid(name: str) -> None:
    for change in changes_of(f"{name}.toml"):
        if not change.startswith("ensemble.weights"):  # its list has spaces
            load_recipe(name, changes=[change])


def test_comments_name_changes() -> None:
    assert "train.head.kind=hadamard" in changes_of("facenet-hadamard.toml")
    assert "train.attention.kind=spatial" in changes_of("xception-bilinear.toml")


def test_list_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    list_()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list_recipes()
    assert lines[list_recipes().index("demo")].endswith(load_recipe("demo").description)


def test_show_has_the_comments_the_bases_the_settings_and_the_report(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show("torino")
    shown = capsys.readouterr().out
    for text in (
        "# the 300 landmarks 1000 to 1299",
        "torino -> report",
        "\ntrain.batch_size = 128\n",
        'at full scale:\ndata.ids = "1000:1300"\n',
        'small changes:\ndata.ids = ""\n',
        "(Di Pietro, Martini)\n- Where the dataset has",
    ):
        assert text in shown, text
    assert "\ntrain.step_epochs" not in shown.partition("what --scale small")[0]  # the default


def test_show_takes_a_scale_and_changes(capsys: pytest.CaptureFixture[str]) -> None:
    show("se-attention-phases", "small", ["train.dim=7"])
    shown = capsys.readouterr().out
    assert "at small scale:\n" in shown and "\ntrain.dim = 7\n" in shown
    assert "\ntrain.phases = [{ epochs = 2, freeze.last_convolutions = 0" in shown
    show("demo")
    assert "small" not in capsys.readouterr().out.partition("settings that")[2]


def test_differences_are_those_of_members_too() -> None:
    lines = list(list_differences(Recipe(), load_recipe("balanced-ensemble")))
    assert "ensemble.members.set-2.train.balance.set_number = 2" in lines
    assert list(list_differences(Recipe(), Recipe())) == []


@pytest.mark.parametrize("name", list_recipes())
def test_every_shipped_recipe_passes_the_check(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(name)
    lines = capsys.readouterr().out.splitlines()
    if name == "report":  # a base: some of those made of it use DELF, and its settings
        lines = [line for line in lines if not line.startswith("  rerank.")]
    assert len(lines) in (1, 2) and all(": ok, " in line for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[train]\nbackbone = 'resnet51'\n",
            "timm has no network 'resnet51' \\(train.backbone\\); close names: resnet",
        ),
        (
            "[small.train]\nbackbone = 'zzz'\n",
            "no network 'zzz' \\(train.backbone\\); timm.list_models",
        ),
        (
            "[train]\nbackbone = 'crossvit_9_240'\n",
            "'crossvit_9_240' gives no feature map .* name another network: train.backbone",
        ),
        (
            "[ensemble.members.a.train]\nbackbone = 'vgg17'\n",
            "no network 'vgg17' \\(train.backbone\\); close names",
        ),
        ("[small.train]\nepoch = 3\n", "unknown key 'small.train.epoch'"),
        (
            "[train]\npooling = { kind = 'dolg', stride = 12 }\n",
            r"train\.pooling\.stride = 12: ResNet has .* only of \[2, 4, 8, 16, 32\]",
        ),
        (
            "[ensemble.members.a.train]\nbackbone = 'vit_tiny_patch16_224'\n"
            "pooling = { kind = 'dolg', stride = 8 }\n",
            r"train\.pooling\.stride = 8: VisionTransformer has .* only of \[16\]",
        ),
        (
            "[rerank]\nmethod = 'delf'\ndelf.stride = 12\n",
            r"rerank\.delf\.stride = 12: ResNet has .* only of",
        ),
        (
            "[rerank]\nmethod = 'delf'\n[rerank.delf]\nstride = 4\ndim = 300\n",
            r"rerank\.delf\.dim = 300: the map has 256 channels",
        ),
        (
            "[small.train]\nfreeze.last_convolutions = 54\n",
            r"train\.freeze\.last_convolutions = 54: ResNet has 53; name fewer",
        ),
        (
            "[train]\nepochs = 2\n[[train.phases]]\nepochs = 2\nfreeze.first_tensors = 900\n",
            r"train\.phases\.0\.freeze\.first_tensors = 900: ResNet has 159; name fewer",
        ),
        (
            "[train]\nbackbone = 'vit_tiny_patch16_224'\nattention.kind = 'se'\n",
            r"train\.attention\.kind = 'se' needs a network of convolutional stages",
        ),
        ("[decide]\npolicy = 'torno'\n", "did you mean 'torino'"),
    ],
)
def test_the_check_says_what_is_wrong(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        check(str(path))


def test_a_network_may_name_its_weights() -> None:
    check_backbone("resnet50.a1_in1k")


@pytest.mark.parametrize("command", [show, check])
def test_a_recipe_that_is_not_there_is_named(command: Callable[[str], None]) -> None:
    with pytest.raises(FileNotFoundError, match="no recipe 'torin'; did you mean 'torino'"):
        command("torin")
