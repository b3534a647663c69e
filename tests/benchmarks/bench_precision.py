"""A training step in float32 and in bfloat16 on this CPU, by backbone, interleaved."""

from embed.backbone import BackboneSpec
from embed.model import DescriptorModel, ModelSpec
from embed.precision import measure_precisions

BACKBONES = (
    ("resnet18", 112),
    ("mobilenetv2_100", 224),
    ("tf_efficientnet_lite0", 224),
    ("resnet50", 224),
)


def run() -> str:
    """Return the medians and their ratio, a line a backbone; above 1 bfloat16 is faster."""
    lines = ["backbone             side  float32  bfloat16  ratio"]
    for name, side in BACKBONES:
        model = DescriptorModel(ModelSpec(BackboneSpec(name), side, 128))
        seconds = measure_precisions(model, side)
        ratio = seconds["float32"] / seconds["bfloat16"]
        lines.append(
            f"{name:20s} {side:4d} {1e3 * seconds['float32']:5.0f} ms "
            f"{1e3 * seconds['bfloat16']:6.0f} ms {ratio:7.2f}"
        )
    return "\n".join(lines)
