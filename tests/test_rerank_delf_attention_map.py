"""Where DELF looks: scores stand at the pixels that their locations are centred on."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from embed.backbone import BackboneSpec
from embed.model import DescriptorModel, ModelSpec, fingerprint_model
from embed.tensors import normalize, to_tensor
from rerank.delf.attention_map import attention_map, spread_scores
from rerank.delf.model import LocalModel, LocalSpec
from tests.images import photo

SIDE = 64


@pytest.mark.parametrize(
    ("shape", "stride", "center"), [((4, 4), 16, 0.0), ((4, 4), 16, 7.5), ((3, 5), 8, 3.5)]
)
def test_scores_are_interpolated_between_the_centres_of_locations(
    shape: tuple[int, int], stride: int, center: float
) -> None:
    scores = np.random.default_rng(0).random(shape)
    places = (np.arange(SIDE) - center) / stride
    grid = np.meshgrid(places, places, indexing="ij")
    expected = map_coordinates(scores, grid, order=1, mode="nearest")
    found = spread_scores(torch.from_numpy(scores)[None], (SIDE, SIDE), stride, center)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-12)


def test_a_map_of_one_location_is_the_same_everywhere() -> None:
    found = spread_scores(torch.full((2, 1, 1), 3.0), (5, 5), 32, 15.5)
    assert torch.equal(found, torch.full((2, 5, 5), 3.0))


def test_the_map_holds_the_scores_of_the_local_model() -> None:
    torch.manual_seed(0)
    model = DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), SIDE, 8)).eval()
    level = model.backbone.find_level(16)
    spec = LocalSpec(fingerprint_model(model), 16, level.channels, 0.0, 16, 8)
    local = LocalModel(spec).eval()
    images = torch.stack([to_tensor(photo(SIDE, SIDE, seed)) for seed in range(2)])
    found = attention_map(model, local, images)
    assert (found.shape, found.dtype) == ((2, SIDE, SIDE), torch.float32)
    with torch.inference_mode():
        maps = model.backbone.forward_to(normalize(images, model.spec.backbone), level)
        expected = local.score(maps)
    torch.testing.assert_close(found[:, ::16, ::16], expected, rtol=1e-4, atol=1e-5)
