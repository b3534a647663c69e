"""Write the local features of tests."""

from collections.abc import Sequence
from pathlib import Path

from embed.parts import write_part
from rerank.features import LocalFeatures
from rerank.store import ROWS_PER_GROUP, make_rows


def write_features_part(
    path: Path,
    image_ids: Sequence[str],
    features: Sequence[LocalFeatures],
    extractor_fingerprint: str,
) -> None:
    """Write the features of some images, as make_rows takes them, as a part without failures."""
    rows = make_rows(image_ids, features, extractor_fingerprint)
    write_part(path, rows, {}, extractor_fingerprint, group_rows=ROWS_PER_GROUP)
