"""The record of one answer: which landmark, how sure, and on what evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """The answer to one query."""

    query_id: str
    landmark_id: int | None  # None: no known landmark
    confidence: float  # higher is surer; what GAP sorts by
    # votes, similarity, inliers, penalty of the best label; what is not known is left out
    evidence: Mapping[str, float] = field(default_factory=dict)
    guess: int | None = None  # the best label, also where it was rejected
    reason: str = ""  # why there is no landmark, for people

    def __post_init__(self) -> None:
        """Raise ValueError for an answer without landmark and reason, or a confidence of nan."""
        if self.confidence != self.confidence:
            raise ValueError(f"confidence of '{self.query_id}' is not a number")
        if self.landmark_id is None and not self.reason:
            raise ValueError(f"'{self.query_id}' has neither a landmark nor a reason")
