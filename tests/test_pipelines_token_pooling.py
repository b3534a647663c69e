"""Runs of ViTs whose token of the whole image is pooled: trained or not, of one pass or two."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from pipelines.answers.describer import load_describer
from pipelines.answers.open_run import load_split_embeddings
from pipelines.answers.stored_model import open_model
from pipelines.runs.recipe import load_recipe
from tests.conftest import Tiny
from tests.datasets import DELF, cairn, make_recipe_file

CLS_GEM = "dim = 0\nepochs = 0\npooling = { kind = 'cls-gem', token_share = 0.3 }\n"
FROZEN = f"[train]\nbackbone = 'test_vit'\n{CLS_GEM}"
# DELF reads a map of the pass that describes the photo: the token has to come along.
FROZEN_DELF = FROZEN + DELF.replace("stride = 4", "stride = 16")
# The attention pooling of SigLIP, trained, with that of the weights file beside it.
TRAINED = f"""[train]
backbone = 'test_vit3'
pretrained_share = 0.4
{CLS_GEM.replace("epochs = 0", "epochs = 1")}
"""


@pytest.mark.parametrize(
    "changes", [FROZEN, FROZEN_DELF, TRAINED], ids=["frozen", "delf", "trained"]
)
def test_a_query_is_described_as_by_embed(changes: str, fresh: Tiny, tmp_path: Path) -> None:
    recipe = make_recipe_file(tmp_path / "token.toml", changes)
    names = ["--data", fresh.data, "--run", fresh.run, "--recipe", recipe, "--workers", 0]
    if changes == TRAINED:
        torch.manual_seed(3)
        weights = tmp_path / "weights.safetensors"
        save_file(timm.create_model("test_vit3").state_dict(), weights)
        names += ["--weights", weights]
    end = cairn("submit", *names)
    assert end.status == 0, end.err
    stored = load_split_embeddings(fresh.run, "test")
    describer = load_describer(fresh.run, load_recipe(str(recipe)))
    model, _ = open_model(fresh.run)
    widths = 2 * model.backbone.channels * (1 + (model.pretrained is not None))
    assert stored.vectors.shape == (8, widths)
    for row, name in enumerate(stored.ids):
        image = describer.decode(fresh.data / "images" / f"{name}.jpg")
        embeddings, _ = describer.describe([image], [name])
        # A batch of one is summed in another order than one of four: the last bits may differ.
        np.testing.assert_allclose(embeddings.vectors[0], stored.vectors[row], atol=1e-6)
    assert np.ptp(stored.vectors @ stored.vectors.T) > 0.01  # of different photos


def test_a_network_without_a_token_ends_before_the_data_are_read(
    fresh: Tiny, tmp_path: Path
) -> None:
    (fresh.data / "train.csv").write_text("no table\n")
    recipe = make_recipe_file(tmp_path / "token.toml", FROZEN.replace("test_vit", "test_resnet"))
    end = cairn("train", "--data", fresh.data, "--run", fresh.run, "--recipe", recipe)
    assert end.status == 1
    assert "'test_resnet' (ResNet) has none; set train.pooling.kind = 'gem'" in end.err
