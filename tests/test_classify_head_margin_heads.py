"""Heads with a margin against the losses of pytorch-metric-learning, and margins by hand."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor, nn

from classify_head.margin_heads import (
    ArcFaceHead,
    CosFaceHead,
    MarginHead,
    SubcenterHead,
    add_angle,
    class_margins,
)

LABELS = torch.tensor([0, 4, 2, 2, 1, 3])
KINDS = [ArcFaceHead, CosFaceHead, SubcenterHead]


def features(count: int = 6, dim: int = 8) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(0))


def build(kind: type[MarginHead], margin: float = 0.4) -> MarginHead:
    torch.manual_seed(0)
    return kind(8, 5, 12.0, margin)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_are_those_of_the_library(kind: type[MarginHead]) -> None:
    head, rows = build(kind), features().requires_grad_()
    inputs = (rows, head.loss.W)
    ours = nn.functional.cross_entropy(head(rows, LABELS), LABELS)
    head.loss.distance = CosineSimilarity()  # the library's own
    theirs = head.loss(rows, LABELS)
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_lower_the_right_class_alone(kind: type[MarginHead]) -> None:
    head = build(kind)
    plain, hard = head(features()), head(features(), LABELS)
    right = nn.functional.one_hot(LABELS, 5).bool()
    assert torch.equal(plain[~right], hard[~right])
    assert (hard[right] < plain[right]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_margin_labels_change_nothing(kind: type[MarginHead]) -> None:
    head = build(kind, margin=0.0)
    torch.testing.assert_close(head(features()), head(features(), LABELS))


def test_the_nearest_centre_of_a_class_counts() -> None:
    head = SubcenterHead(8, 5, scale=1.0, centers=3)
    rows, centers = features().numpy(), head.loss.W.detach().numpy().T.reshape(5, 3, 8)
    expected = np.empty((6, 5))
    for image in range(6):
        for label in range(5):
            expected[image, label] = max(
                rows[image] @ c / np.linalg.norm(rows[image]) / np.linalg.norm(c)
                for c in centers[label]
            )
    np.testing.assert_allclose(head(features()).detach().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("kind", [ArcFaceHead, SubcenterHead])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_image_right_on_its_direction_has_a_finite_gradient(
    kind: type[MarginHead], sign: float
) -> None:
    head = build(kind)
    rows = (sign * head.loss.W.detach().T[:1]).clone().requires_grad_()
    nn.functional.cross_entropy(head(rows, torch.tensor([0])), torch.tensor([0])).backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None and rows.grad.isfinite().all()
    assert head.loss.W.grad.isfinite().all()


@pytest.mark.parametrize("margin", [0.05, 0.5, 2.0])
def test_added_angles_are_those_of_the_library(margin: float) -> None:
    cosines = torch.linspace(-1, 1, 101)
    loss = ArcFaceLoss(2, 2, margin=math.degrees(margin))
    expected = loss.modify_cosine_of_target_classes(cosines)
    torch.testing.assert_close(add_angle(cosines, margin), expected)
    torch.testing.assert_close(add_angle(cosines, torch.full((101,), margin)), expected)


def test_each_class_has_the_margin_of_its_size() -> None:
    head = SubcenterHead(8, 5, scale=1.0, margin=0.5)
    head.set_margins(np.array([1, 16, 10_000, 1, 16]), least=0.05)
    cosines = torch.tensor([0.3, 0.3, 0.3])
    lowered = head.add_margin(cosines, torch.tensor([0, 1, 2]))
    # The powers -1/4 of the sizes are 1, 1/2 and 1/10.
    margins = [0.5, 0.05 + 0.45 * (0.5 - 0.1) / 0.9, 0.05]
    expected = [math.cos(math.acos(0.3) + margin) for margin in margins]
    assert lowered.tolist() == pytest.approx(expected, abs=1e-6)


def published_margins(sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """As in train.py of github.com/haqishen/Google-Landmark-Recognition-2020-3rd-Place-Solution."""
    powers = np.sqrt(1 / np.sqrt(sizes))
    return np.asarray((powers - powers.min()) / (powers.max() - powers.min()) * 0.45 + 0.05)


def test_margins_are_those_published() -> None:
    sizes = np.array([2, 3, 10, 100, 1000, 6272])
    # a * n ** (-1 / 4) + b, with a = .6177 and b = -.0194 from the first and the last size.
    expected = [0.5, 0.4499, 0.3279, 0.1759, 0.0904, 0.05]
    assert class_margins(sizes, 0.05, 0.5).tolist() == pytest.approx(expected, abs=1e-4)
    drawn = np.random.default_rng(0).zipf(1.6, 500).clip(1, 5000)
    np.testing.assert_allclose(
        class_margins(drawn, 0.05, 0.5), published_margins(drawn), rtol=1e-5, atol=1e-7
    )


def test_logits_are_those_published_image_by_image() -> None:
    sizes, scale = np.array([2, 3, 10, 100, 1000]), 80.0
    torch.manual_seed(0)
    head = SubcenterHead(8, 5, scale, margin=0.5, centers=3)
    head.set_margins(sizes, least=0.05)
    centers = head.loss.W.detach().double().numpy().T.reshape(5, 3, 8)
    rows = features()
    rows[1] = -torch.from_numpy(centers[4].sum(axis=0))  # beyond pi - margin of all centres
    expected = np.empty((6, 5))
    for image, label in np.ndindex(6, 5):
        row = rows[image].double().numpy()
        cosine = max(row @ c / np.linalg.norm(row) / np.linalg.norm(c) for c in centers[label])
        if label == LABELS[image]:
            margin = published_margins(sizes)[label]
            turned = cosine * np.cos(margin) - np.sqrt(1 - cosine**2) * np.sin(margin)
            least = cosine - np.sin(np.pi - margin) * margin
            cosine = turned if cosine > np.cos(np.pi - margin) else least
        expected[image, label] = scale * cosine
    np.testing.assert_allclose(head(rows, LABELS).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_margins_do_not_depend_on_the_order_of_classes() -> None:
    sizes = np.random.default_rng(0).integers(1, 1000, 50)
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_array_equal(
        class_margins(sizes, 0.1, 0.3)[order], class_margins(sizes[order], 0.1, 0.3)
    )


@pytest.mark.parametrize("sizes", [[7], [3, 3, 3]])
def test_classes_of_one_size_all_have_the_largest_margin(sizes: list[int]) -> None:
    assert class_margins(np.array(sizes), 0.05, 0.5).tolist() == [0.5] * len(sizes)


def test_margins_are_part_of_the_state() -> None:
    head, other = SubcenterHead(8, 5), SubcenterHead(8, 5)
    head.set_margins(np.arange(1, 6), least=0.1)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.margins, head.margins)
    assert torch.equal(other(features(), LABELS), head(features(), LABELS))


@pytest.mark.parametrize(
    ("sizes", "least", "message"),
    [
        ([], 0.1, "class sizes"),
        ([3, 0], 0.1, "leave classes without images out"),
        ([3, 1], 0.6, "least_margin 0.6 > margin 0.5"),
    ],
)
def test_senseless_sizes_and_margins_are_refused(
    sizes: list[int], least: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        class_margins(np.array(sizes, dtype=np.int64), least, 0.5)


def test_a_wrong_number_of_sizes_and_margins_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="2 class sizes for a head of 5 classes"):
        SubcenterHead(8, 5).set_margins(np.array([1, 2]), least=0.1)
    with pytest.raises(ValueError, match=r"margin -0\.1"):
        ArcFaceHead(8, 5, margin=-0.1)
    # The library's margins are degrees, ours are radians.
    with pytest.raises(ValueError, match=r"margin 28\.6 .* below 3\.14159: it is in radians"):
        ArcFaceHead(8, 5, margin=28.6)
    with pytest.raises(ValueError, match="margin 2 of a head 'cosface'"):
        CosFaceHead(8, 5, margin=2.0)
