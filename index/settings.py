"""Settings of the search, validated when made. Imports nothing heavy."""

import re
from typing import Literal

from pydantic import Field, field_validator

from embed.settings import MAX_LENGTH, Settings

# Vectors below which all are compared: of 512 numbers that takes one core .7 milliseconds, a
# hundredth of what describing a photo takes.
EXACT_BELOW = 50_000
MAX_NEIGHBORS = 100_000  # images of the database that are looked at for one query
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BINARY_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B\s*", re.IGNORECASE)


class SearchSettings(Settings):
    """How many neighbours a query gets, how they are found, and what is done to descriptors."""

    neighbors: int = Field(100, ge=1, le=MAX_NEIGHBORS)
    # What is searched is held in so much memory, "500MB", "4GB" or "4GiB", and of the ten nearest
    # so many are found: index.plan chooses by both, and compares all where that is fast enough.
    memory: str = "4GB"
    recall: float = Field(0.99, ge=0.5, le=1)
    factory: str = Field("", max_length=200)  # a FAISS index in FAISS's words; empty: chosen
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

    @field_validator("memory")
    @classmethod
    def _be_memory(cls, text: str) -> str:
        parse_memory(text)
        return text

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return parse_memory(self.memory)

    def compares_all(self, count: int, size: int) -> bool:
        """Tell whether each of so many vectors, of so many bytes as float32, is compared.

        So they are beyond that, too, where index.plan finds nothing better.
        """
        if factory := self.factory.strip():
            return factory == "Flat"
        return self.recall == 1 or (count < EXACT_BELOW and size <= self.memory_bytes)


def parse_memory(text: str) -> int:
    """Return an amount of memory in bytes. Raises ValueError unless it is one above 0.

    >>> [parse_memory(text) for text in ("4GB", "1.5 gib", "500 MB")]
    [4000000000, 1610612736, 500000000]
    """
    found = MEMORY.fullmatch(text)
    units = BINARY_UNITS if found and found[3] else UNITS
    size = int(float(found[1]) * units[found[2].upper()]) if found else 0
    if not size:
        raise ValueError('expected an amount of memory like "4GB" or "500MB"')
    return size
