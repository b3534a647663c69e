"""Settings of re-ranking, by global and by local features, validated when made.

Imports nothing heavy.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from embed.errors import InputError
from embed.settings import MAX_SIDE, Settings
from index.settings import MAX_NEIGHBORS
from rerank.delf.settings import DelfSettings

Model = Literal["affine", "similarity", "homography"]  # what relates two photos

# Settings that the inliers of a pair of images depend on, beside their features.
VERIFICATION = {"max_ratio", "max_distance", "model", "threshold_px", "max_iterations"}


MAX_REFINED = 4096  # neighbours of one query that are compared with one another: 64 MB


class RerankSettings(Settings):
    """How neighbours are re-ranked: by global descriptors, then which local features verify them.

    Measured with SIFT as area under the ROC curve of the inlier count, of 150 photos of shelves
    against 4 of the same product, the 4 nearest of others, and 4 of any: .71 against the nearest,
    .85 against any. Ratios of .8 to .95 and thresholds of 4 to 12 change it by .01, no ratio but a
    distance of .7 costs .01 and .03, 'similarity' costs .02 and nothing, 'homography' nothing and
    .03. To weight inliers by their residual or their share of the matches gains nothing.

    Aggregated, on 480 photos of the rendered city, the class right for 148, at most 20 images of
    it and a distance of .8: the area under the ROC curve of the mean inlier count, right against
    wrong, is .996 with a threshold of 8 pixels, .995 with 16, .994 with 20, .993 with 40, and .980
    with 107, which is what 20 pixels of an image of 96 are; of 8 pixels and pairs of images .994.
    """

    # Neighbours that are put in the order of their refined descriptors, before any local features;
    # 0: none. See rerank.superglobal.
    refine: int = Field(0, ge=0, le=MAX_REFINED)
    refine_nearest: int = Field(9, ge=1, le=MAX_REFINED)  # others of them that refine one
    refine_beta: float = Field(0.15, ge=0, le=1000)  # weight of one of cosine 1, beside its own 1
    method: Literal["sift", "delf", "delf-hub", "none"] = "sift"
    # Which images: the nearest neighbours, or those of the class that the head finds most likely.
    of: Literal["neighbors", "predicted-class"] = "neighbors"
    candidates: int = Field(100, ge=1, le=MAX_NEIGHBORS)  # that are verified, the nearest first
    # pairs: the query with each image; aggregated: with all of the class at once.
    matching: Literal["pairs", "aggregated"] = "pairs"
    max_side: int = Field(512, ge=32, le=MAX_SIDE)  # pixels; images are resized to this longer side
    max_features: int = Field(600, ge=1, le=100_000)  # of an image
    # pairs: Lowe's ratio of the distances to the nearest and second nearest; 1: any.
    max_ratio: float = Field(0.85, gt=0, le=1)
    max_distance: float = Field(2.0, gt=0, le=2)  # of matched descriptors of length 1; 2: any
    # aggregated: descriptors of the class that are looked at for each of the query.
    nearest: int = Field(10, ge=1, le=MAX_NEIGHBORS)
    model: Model = "affine"
    threshold_px: float = Field(8.0, gt=0, le=512)  # of an inlier, at a longer side of 512
    # Samples that the search for a transform draws at most, an image.
    max_iterations: int = Field(1000, ge=1, le=10_000_000)
    hub_model: str = ""  # of delf-hub: a folder with a SavedModel; empty is TF Hub's own
    delf: DelfSettings = DelfSettings()  # of delf: its training and extraction

    @property
    def verifies_several(self) -> bool:
        """Whether images of several landmarks are verified for a query."""
        return self.method != "none" and self.of == "neighbors"

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.refine == 1:
            raise InputError("refine = 1: one neighbour has no order; set refine = 400, or 0: none")
        if 0 < self.refine <= self.refine_nearest:
            raise InputError(
                f"refine_nearest = {self.refine_nearest} of refine = {self.refine}: a neighbour is "
                f"refined by others of them; set refine_nearest to at most {self.refine - 1}, or "
                "raise refine"
            )
        if self.matching == "aggregated" and self.of != "predicted-class":
            raise InputError(
                'matching "aggregated" of neighbors: they show many landmarks, and a descriptor '
                'that all of these have would match them all; set of = "predicted-class"'
            )
        return self
