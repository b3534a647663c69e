"""Show where DELF looks: the attention score of every pixel of an image.

Knows nothing of keypoints or storage. Reads and writes no files.
"""

import torch
from torch import Tensor, nn

from embed.model import DescriptorModel
from embed.transforms import normalize

from .model import LocalModel


@torch.inference_mode()
def attention_map(model: DescriptorModel, local: LocalModel, images: Tensor) -> Tensor:
    """Return the attention of every pixel, by the pass at scale 1 of the pyramid.

    Args:
        model: in eval mode, on the device to use.
        local: trained for the model, in eval mode, on the same device.
        images: [B, 3, S, S] uint8.

    Returns:
        [B, S, S] float32, > 0; 1 is the mean of the training images. Between the locations of the
        map scores are interpolated, beyond the outermost they go on.

    Source: Noh et al., "Large-Scale Image Retrieval with Attentive Deep Local Features", ICCV
    2017, section 4.2.
    """
    level = model.backbone.find_level(local.spec.stride)
    batch = normalize(images.to(next(model.parameters()).device), model.spec.backbone)
    scores = local.score(model.backbone.forward_to(batch, level)).float()
    return spread_scores(scores, images.shape[-1], level.stride, local.spec.center)


def spread_scores(scores: Tensor, side: int, stride: int, center: float) -> Tensor:
    """Interpolate scores [B, h, w] at the pixels of a square [B, side, side].

    Padding shifts a network's map: location 0 is centred on pixel `center`, not on that which an
    enlarged map would suggest.

    Args:
        scores: [B, h, w] float.
        side: pixels.
        stride: pixels from one location to the next.
        center: pixel that the first location of a row is centred on, as `measure_center` finds.
    """
    pixels = torch.arange(side, dtype=scores.dtype, device=scores.device)
    places = (pixels - center) / stride  # in locations
    height, width = scores.shape[-2:]
    # grid_sample counts from -1, the first location's centre, to 1, the last one's.
    y, x = (2 * places / max(count - 1, 1) - 1 for count in (height, width))
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    sampled = nn.functional.grid_sample(
        scores[:, None],
        grid.expand(len(scores), -1, -1, -1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return sampled[:, 0]
