"""The script that people write: frozen features, nearest neighbours, and SIFT on the nearest.

Whole photos squeezed to 224 pixels, the mean of powers (GeM, p = 3) of the network's last map,
plain cosine, the votes of five neighbours; then, if asked for, OpenCV's SIFT, ratio test and RANSAC
on the first twenty. Knows nothing of Cairn's recipes, calibration or index: these must beat it.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from classify_head.label_scores import Choice
from embed.backbone import Backbone, BackboneSpec, build_backbone
from embed.decode import decode_image
from embed.image_file import ImageFile
from pipelines.datasets.dataset import Dataset

SIDE, POWER, VOTES = 224, 3.0, 5
CANDIDATES, KEYPOINTS, LONGER_SIDE = 20, 1000, 640
RATIO, THRESHOLD_PX, CAP = 0.8, 5.0, 70
BATCH, MAX_PIXELS = 16, 50_000_000

Pixels = NDArray[np.uint8]
Sift = tuple[NDArray[np.float32], NDArray[np.float32]]  # points [M, 2], descriptors [M, 128]


def answer_by_script(data: Path, weights: Path, *, sift: bool) -> tuple[tuple[str, ...], Choice]:
    """Answer the test photos of a dataset by its database; return their ids and the answers."""
    dataset = Dataset(data)
    database, queries = dataset.load_split(dataset.database_split), dataset.load_split("test")
    backbone, spec = build_backbone(BackboneSpec("mobilenetv2_100"), weights=weights)
    photos = [list(dataset.images.locate_all(table.ids)) for table in (database, queries)]
    xb, xq = (
        np.concatenate(list(_describe(backbone.eval(), spec, map(_decode, paths))))
        for paths in photos
    )
    cosines = xq @ xb.T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :CANDIDATES]
    scores = np.take_along_axis(cosines, nearest, axis=1)
    if sift:
        points, asked = ([_find_sift(_decode(path)) for path in paths] for paths in photos)
        for row, query in enumerate(asked):
            inliers = [_count_inliers(query, points[place]) for place in nearest[row]]
            scores[row] += np.minimum(inliers, CAP) / CAP
    order = np.argsort(-scores, axis=1, kind="stable")[:, :VOTES]
    labels = database.landmark_ids[np.take_along_axis(nearest, order, axis=1)]
    return queries.ids, _vote(labels, np.take_along_axis(scores, order, axis=1))


def _decode(path: ImageFile) -> Pixels:
    return decode_image(path, min_side=LONGER_SIDE, max_pixels=MAX_PIXELS).pixels


@torch.inference_mode()
def _describe(
    backbone: Backbone, spec: BackboneSpec, images: Iterator[Pixels]
) -> Iterator[NDArray[np.float32]]:
    """Yield [B, C] rows of length 1."""
    mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in (spec.mean, spec.std))
    squares = (cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images)
    while batch := [square for _, square in zip(range(BATCH), squares, strict=False)]:
        pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255
        maps = backbone((pixels - mean) / std).map.clamp(min=1e-6)
        pooled = maps.pow(POWER).mean(dim=(2, 3)).pow(1 / POWER)
        yield torch.nn.functional.normalize(pooled, dim=1).numpy()


def _find_sift(image: Pixels) -> Sift:
    factor = LONGER_SIDE / max(image.shape[:2])
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    found, descriptors = cv2.SIFT.create(KEYPOINTS).detectAndCompute(grey, None)
    if descriptors is None:
        return np.empty((0, 2), np.float32), np.empty((0, 128), np.float32)
    return np.array([point.pt for point in found], np.float32), descriptors.astype(np.float32)


def _count_inliers(query: Sift, image: Sift) -> int:
    """Return the inliers of an affine transform between the matches that pass the ratio test."""
    if min(len(query[0]), len(image[0])) < 3:
        return 0
    pairs = cv2.BFMatcher().knnMatch(query[1], image[1], k=2)
    good = [first for first, second in pairs if first.distance < RATIO * second.distance]
    if len(good) < 3:
        return 0
    here = np.array([query[0][match.queryIdx] for match in good])
    there = np.array([image[0][match.trainIdx] for match in good])
    _, mask = cv2.estimateAffine2D(here, there, ransacReprojThreshold=THRESHOLD_PX)
    return 0 if mask is None else int(mask.sum())


def _vote(labels: NDArray[np.int64], scores: NDArray[np.float32]) -> Choice:
    """Return the label of the largest sum of scores in each row [Q, VOTES]."""
    same = labels[:, :, None] == labels[:, None, :]
    sums = (same * scores[:, None, :].astype(np.float64)).sum(axis=2)
    best = sums.argmax(axis=1)[:, None]
    return Choice(*(np.take_along_axis(of, best, axis=1)[:, 0] for of in (labels, sums)))
