"""Reckon what the recipe landmarks computes: operations of each of its networks, and hours of GPU.

Run as `python -m tests.benchmarks.bench_landmarks`. Counts operations on shapes alone: no weights,
no images, no GPU. Training is reckoned at three forward passes an image.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from embed.backbone import Backbone, BackboneSpec
from embed.train_settings import TrainSettings
from pipelines.runs.recipe import load_recipe, member_recipe

IMAGES, CLASSES, TEST = 1_580_470, 81_313, 117_577  # of GLDv2's clean set, and of its test set
SPEED = 312e12  # operations a second of an A100 in bfloat16, as its maker says
SHARE = 0.4  # of it that is reached
BYTES = 16  # of a parameter in training: weight, gradient and two moments


def count_operations(backbone: Backbone, side: int) -> float:
    """Return the operations of one forward pass of a square image, a product and a sum as two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(torch.zeros(1, 3, side, side, device="meta"))
    return float(counter.get_total_flops())


def count_saved(backbone: Backbone, side: int) -> float:
    """Return the bytes that an image's forward pass keeps for the backward pass, in bfloat16."""
    own = {tensor.untyped_storage()._cdata for tensor in backbone.state_dict().values()}
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)  # alive, or another would get its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        backbone(torch.zeros(1, 3, side, side, device="meta"))
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in kept}
    return sum(s.nbytes() for place, s in storages.items() if place not in own) / 2


def report(settings: TrainSettings) -> None:
    """Print a row for each phase of a member's training, and one for its descriptors."""
    with torch.device("meta"):
        backbone = Backbone(BackboneSpec(settings.backbone)).train()
    batch = settings.classes_per_batch * settings.images_per_class
    steps = int(IMAGES * (1 - settings.validation_share)) // batch
    for phase in settings.phases:
        side = phase.image_size or settings.image_size
        operations = count_operations(backbone, side)
        hours = 3 * operations * steps * batch * phase.epochs / SPEED / SHARE / 3600
        print(
            f"{settings.backbone}, {side} pixels: {phase.epochs} epochs of {steps} steps, "
            f"{operations / 1e9:.0f} GFLOP an image forward, {hours:.1f} h, "
            f"{batch * count_saved(backbone, side) / 1e9:.0f} GB of activations"
        )
    hours = count_operations(backbone, settings.image_size) * (IMAGES + TEST) / SPEED / SHARE / 3600
    print(f"{settings.backbone}: descriptors of database and test in {hours:.1f} h")
    learned = sum(parameter.numel() for parameter in backbone.parameters()) + CLASSES * 3 * 512
    print(f"{settings.backbone}: {learned * BYTES / 1e9:.1f} GB for what is learned, head included")


def main() -> None:
    """Report each member of the recipe."""
    recipe = load_recipe("landmarks")
    for name in recipe.ensemble.members:
        report(member_recipe(recipe, name).train)


if __name__ == "__main__":
    main()
