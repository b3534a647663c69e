"""Show where DELF looks: the attention score of every pixel of an image.

Knows nothing of keypoints or storage. Reads and writes no files.
"""

import torch
from torch import Tensor, nn

from embed.model import DescriptorModel
from embed.tensors import normalize

from .model import LocalModel


@torch.inference_mode()
def attention_map(model: DescriptorModel, local: LocalModel, images: Tensor) -> Tensor:
    """Return the attention of every pixel, by the pass at scale 1 of the pyramid.

    Args:
        model: in eval mode, on the device to use.
        local: trained for the model, in eval mode, on the same device.
        images: [B, 3, H, W] uint8.

    Returns:
        [B, H, W] float32, > 0; 1 is the mean of the training images. Between the locations of the
        map scores are interpolated, beyond the outermost they go on.

    Source: Noh et al., "Large-Scale Image Retrieval with Attentive Deep Local Features", ICCV
    2017, section 4.2.
    """
    level = model.backbone.find_level(local.spec.stride)
    batch = normalize(images.to(next(model.parameters()).device), model.spec.backbone)
    scores = local.score(model.backbone.forward_to(batch, level)).float()
    size = (images.shape[-2], images.shape[-1])
    return spread_scores(scores, size, level.stride, local.spec.center)


def spread_scores(scores: Tensor, size: tuple[int, int], stride: int, center: float) -> Tensor:
    """Interpolate scores [B, h, w] at the pixels of an image [B, H, W].

    Padding shifts a network's map: location 0 is centred on pixel `center`, not on that which an
    enlarged map would suggest.

    Args:
        scores: [B, h, w] float.
        size: H and W.
        stride: pixels from one location to the next.
        center: pixel that the first location of a row is centred on, as `measure_center` finds.
    """
    # grid_sample counts from -1, the first location's centre, to 1, the last one's.
    y, x = (
        2 * (torch.arange(length).to(scores) - center) / stride / max(count - 1, 1) - 1
        for length, count in zip(size, scores.shape[-2:], strict=True)
    )
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    sampled = nn.functional.grid_sample(
        scores[:, None],
        grid.expand(len(scores), -1, -1, -1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return sampled[:, 0]
