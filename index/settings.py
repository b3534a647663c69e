"""Settings of the search, validated when made. Imports nothing heavy."""

from typing import Literal

from pydantic import Field

from embed.settings import MAX_LENGTH, Settings

MAX_NEIGHBORS = 100_000  # images of the database that are looked at for one query


class SearchSettings(Settings):
    """How many neighbours a query gets, and what is done to descriptors before the search."""

    neighbors: int = Field(100, ge=1, le=MAX_NEIGHBORS)
    expand_query: int = Field(
        0, ge=0, le=MAX_NEIGHBORS
    )  # neighbours that are added to the query; 0: none
    augment_database: int = Field(
        0, ge=0, le=MAX_NEIGHBORS
    )  # neighbours that are added to database images
    alpha: float = Field(3.0, ge=0, le=1000)  # of query expansion: weight is cosine ** alpha
    # Fit whitening on the database's descriptors, and apply it to all: see embed.whitening.
    whiten: Literal["none", "pca", "within-class"] = "none"
    whiten_dim: int = Field(0, ge=0, le=MAX_LENGTH)  # pca: dimensions that are kept; 0: all
    # pca: 0 rotates alone, 1 makes all variances equal, those of noise too: on photos of cartons
    # 0.5 was better than both.
    whiten_power: float = Field(0.5, ge=0, le=1)
