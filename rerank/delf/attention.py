"""Score the locations of a feature map by how much they tell of what an image shows.

Knows nothing of backbones, scales or files.
"""

from typing import cast

from torch import Tensor, nn


class Attention(nn.Module):
    """Two 1x1 convolutions that give each location a score above 0.

    Source: Noh et al., "Large-Scale Image Retrieval with Attentive Deep Local Features", ICCV
    2017, section 4.2; batch norm in between as in the published code of DELG (Cao, Araujo, Sim:
    "Unifying Deep Local and Global Features for Image Search", 2020).
    """

    def __init__(self, channels: int, hidden: int) -> None:
        """Take the channels of the map and of the layer between."""
        super().__init__()
        self.hidden = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.score = nn.Conv2d(hidden, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return scores [B, h, w] of maps [B, C, h, w]."""
        hidden = nn.functional.relu(self.norm(self.hidden(maps)))
        return nn.functional.softplus(cast(Tensor, self.score(hidden))).squeeze(1)


def pool_attended(descriptors: Tensor, scores: Tensor) -> Tensor:
    """Average local descriptors, weighted by their scores.

    Args:
        descriptors: [B, C, h, w]; brought to length 1 over C here.
        scores: [B, h, w], > 0.

    Returns:
        [B, C]. Scores are not divided by their sum: an image that shows nothing stays short.

    Source: DELF, equation 1.
    """
    unit = nn.functional.normalize(descriptors, dim=1)
    return (unit * scores[:, None]).mean(dim=(-2, -1))
