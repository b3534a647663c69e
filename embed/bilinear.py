"""Compact bilinear pooling: all products of two channels, sketched in far fewer numbers.

The products of 2,048 channels are 4 million numbers a location. A count sketch throws each on one
of `dim` places with a random sign. Inner products of two sketches are on average those of what was
sketched, the more closely the longer they are, and the sketch of an outer product is the circular
convolution of two sketches of the vector, which an FFT does without any of the products.
"""

import torch
from torch import Tensor, nn


def sketch_products(features: Tensor, places: Tensor, signs: Tensor, dim: int) -> Tensor:
    """Sketch the products of all pairs of channels, summed over positions.

    The product of channels i and j is added to (places[0, i] + places[1, j]) modulo dim, with the
    sign signs[0, i] * signs[1, j]. Takes some five times B * H * W * dim floats of memory.

    Args:
        features: [B, C, H, W] float of any precision; computed in float32.
        places: [2, C] int64, 0 to dim - 1.
        signs: [2, C], -1 or 1.
        dim: length of the sketch.

    Returns:
        [B, dim] float32.

    Source:
        Gao, Beijbom, Zhang, Darrell: Compact Bilinear Pooling, 2016, algorithm 2 (tensor sketch).
        The inverse FFT is linear, so it is done once, behind the sum over positions.
    """
    batch, channels, height, width = features.shape
    rows = features.float().permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    first, second = (
        torch.fft.rfft(rows.new_zeros(len(rows), dim).index_add(1, place, rows * sign), dim=1)
        for place, sign in zip(places, signs.float(), strict=True)
    )
    spectrum = (first * second).unflatten(0, (batch, height * width)).sum(dim=1)
    sketch: Tensor = torch.fft.irfft(spectrum, n=dim, dim=1)
    return sketch


def signed_sqrt(values: Tensor, eps: float = 1e-8) -> Tensor:
    """Return sign(x) * sqrt(|x|), softened within eps of 0, where its slope would be infinite."""
    return values * (values.abs() + eps).rsqrt()


class CompactBilinear(nn.Module):
    """Sketch of all products of two channels, signed square root, length 1, in float32.

    A head needs that length: the roots of 8,192 sums of products are so large that the first cross
    entropy of 31 classes was 24, where guessing has 3.4, and Adam never settled.

    Places and signs are the same in every module of the same channels, dim and seed. They are
    buffers all the same: a saved model does not depend on how a version of torch draws numbers.

    Source: Gao, Beijbom, Zhang, Darrell: Compact Bilinear Pooling, 2016, as they classify by it.
    """

    places: Tensor
    signs: Tensor

    def __init__(self, channels: int, dim: int = 8192, seed: int = 0) -> None:
        """Draw the sketch; 8,192 is the paper's length for 512 channels."""
        super().__init__()
        self.out_features = dim
        generator = torch.Generator().manual_seed(seed)
        # On the CPU even where another default device is set: the generator belongs to it.
        places = torch.randint(dim, (2, channels), generator=generator, device="cpu")
        bits = torch.randint(2, (2, channels), generator=generator, device="cpu")
        self.register_buffer("places", places)
        self.register_buffer("signs", 2.0 * bits - 1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, dim] float32 of length 1, under autocast too."""
        sketch = sketch_products(features, self.places, self.signs, self.out_features)
        return nn.functional.normalize(signed_sqrt(sketch), dim=1)
