"""Pool a feature map into one vector. Knows nothing of backbones or files."""

import torch
from torch import Tensor, nn


def gem(features: Tensor, p: Tensor | float, eps: float = 1e-6) -> Tensor:
    """Pool by the generalised mean over positions.

    Args:
        features: [B, C, H, W] float, any size H, W of at least 1; values below eps count as eps.
        p: exponent above 0; 1 is the mean (SPoC), towards infinity the maximum (MAC).
        eps: floor of the values, so that the power has a gradient.

    Returns:
        [B, C], in the precision of features.

    Source:
        Radenović, Tolias, Chum: Fine-tuning CNN Image Retrieval with No Human
        Annotation, 2018, equation 3.
    """
    # Float32: x ** 3 and its root lose most of bfloat16's eight bits of precision.
    values = features.float().clamp(min=eps).pow(p).mean(dim=(-2, -1))
    return values.pow(1.0 / p).to(features.dtype)


class GeM(nn.Module):
    """Generalised-mean pooling whose exponent is trained, one for all channels."""

    def __init__(self, p: float = 3.0) -> None:
        """Start at exponent p; 3 is the paper's initial value."""
        super().__init__()
        self.p = nn.Parameter(torch.tensor(float(p)))

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, C]. The exponent is kept at 1 or above."""
        return gem(features, self.p.clamp(min=1.0))
