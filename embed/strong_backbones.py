"""The frozen networks that make the strongest descriptors, as timm has them: one literal table.

What timm says of each, and the size that it is taken at here; a test holds the one to the other.
Imports nothing heavy.
"""

from dataclasses import dataclass

Colours = tuple[float, float, float]

IMAGENET: tuple[Colours, Colours] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: tuple[Colours, Colours] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# Licences of weights that may be used for anything; of others the user is told.
PERMISSIVE = frozenset({"apache-2.0", "mit", "bsd-3-clause"})


@dataclass(frozen=True)
class StrongBackbone:
    """A network with its weights, and what it takes an image."""

    weights: str  # timm's tag of them
    license: str  # of the weights
    published_size: int  # pixels, side of the square that the weights are published for
    colours: tuple[Colours, Colours]  # mean and std, RGB, of values in [0, 1]
    patch: int  # pixels, side; 0: a convolutional network
    prefix_tokens: int  # before those of the patches: class token and registers
    dim: int  # channels of the map, and of the token
    pooling: str  # kind of train.pooling
    image_size: int  # pixels, side of the square that is described: a multiple of the patch
    gflops: float  # of an image of that size, a multiplication with its addition counted as two
    parameters: float  # millions

    @property
    def permissive(self) -> bool:
        """Whether the weights may be used for anything."""
        return self.license in PERMISSIVE


# By timm's name. DINOv2 was trained at 518 pixels after 224, and interpolates its positions: 322
# shows what is small, at a third of the work of 518. SigLIP 2 has no class token: its attention
# pooling takes that place. DINOv3 is by name alone, for its licence binds who uses it.
STRONG_BACKBONES = {
    "mobilenetv2_100": StrongBackbone(
        *("ra_in1k", "apache-2.0", 224, IMAGENET, 0, 0, 1280, "gem", 224, 0.6, 2.2)
    ),
    "vit_small_patch14_reg4_dinov2": StrongBackbone(
        *("lvd142m", "apache-2.0", 518, IMAGENET, 14, 5, 384, "cls-gem", 322, 28.2, 22.1)
    ),
    "vit_base_patch14_reg4_dinov2": StrongBackbone(
        *("lvd142m", "apache-2.0", 518, IMAGENET, 14, 5, 768, "cls-gem", 322, 101.7, 86.6)
    ),
    "vit_large_patch14_reg4_dinov2": StrongBackbone(
        *("lvd142m", "apache-2.0", 518, IMAGENET, 14, 5, 1024, "cls-gem", 322, 351.2, 304.4)
    ),
    "vit_base_patch16_siglip_384": StrongBackbone(
        *("v2_webli", "apache-2.0", 384, HALF, 16, 0, 768, "cls-gem", 384, 112.1, 93.2)
    ),
    "vit_large_patch16_siglip_384": StrongBackbone(
        *("v2_webli", "apache-2.0", 384, HALF, 16, 0, 1024, "cls-gem", 384, 383.9, 316.3)
    ),
    "vit_so400m_patch16_siglip_384": StrongBackbone(
        *("v2_webli", "apache-2.0", 384, HALF, 16, 0, 1152, "cls-gem", 384, 518.9, 428.3)
    ),
    "vit_small_patch16_dinov3": StrongBackbone(
        *("lvd1689m", "dinov3-license", 256, IMAGENET, 16, 5, 384, "cls-gem", 320, 20.5, 21.6)
    ),
    "vit_base_patch16_dinov3": StrongBackbone(
        *("lvd1689m", "dinov3-license", 256, IMAGENET, 16, 5, 768, "cls-gem", 320, 75.3, 85.6)
    ),
    "vit_large_patch16_dinov3": StrongBackbone(
        *("lvd1689m", "dinov3-license", 256, IMAGENET, 16, 5, 1024, "cls-gem", 320, 261.4, 303.1)
    ),
}

# Those that --time chooses among, each stronger than the one before: on revisited Oxford and Paris
# in the paper of DINOv2 (Oquab et al., 2023), where a convolutional network of ImageNet is far
# behind. SigLIP 2 is not among them, for it was not measured beside them.
RANKED = (
    "mobilenetv2_100",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch14_reg4_dinov2",
    "vit_large_patch14_reg4_dinov2",
)
