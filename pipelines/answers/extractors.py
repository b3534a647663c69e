"""Choose the extractor of local features that a recipe names.

Reads model/ and delf/ of a run, or a model of TensorFlow Hub. Networks are imported when they are
asked for: SIFT needs none.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.runs.integrity import intact_file
from rerank.delf.settings import fingerprint_extraction
from rerank.features import FeatureExtractor
from rerank.settings import RerankSettings
from rerank.sift import SiftExtractor

if TYPE_CHECKING:
    from rerank.delf.hub import HubDelf


def _build_sift(run: Path, settings: RerankSettings) -> FeatureExtractor:
    return SiftExtractor(max_side=settings.max_side, max_features=settings.max_features)


def _build_delf(run: Path, settings: RerankSettings) -> FeatureExtractor:
    # torch takes seconds that SIFT has no need of
    from embed.torch_engine import pick_device
    from rerank.delf.extractor import DelfExtractor

    from .stored_model import open_delf, open_model

    model, fingerprint = open_model(run)
    local = open_delf(run, fingerprint)
    device = pick_device()
    return DelfExtractor(model.to(device), local.to(device), settings.delf, fingerprint)


def _build_hub_delf(run: Path, settings: RerankSettings) -> FeatureExtractor:
    return _open_hub_delf(settings)


@lru_cache(maxsize=4)  # it hashes its model, and loads it at the first use
def _open_hub_delf(settings: RerankSettings) -> "HubDelf":
    from rerank.delf.hub import HubDelf

    published = HubDelf(max_features=settings.max_features, max_side=settings.max_side)
    return replace(published, handle=settings.hub_model) if settings.hub_model else published


EXTRACTORS: dict[str, Callable[[Path, RerankSettings], FeatureExtractor]] = {
    "sift": _build_sift,
    "delf": _build_delf,
    "delf-hub": _build_hub_delf,
}


def fetch_extractor(settings: RerankSettings) -> None:
    """Fetch what an extractor is made of from the network, before anything long is begun.

    Raises:
        MissingFileError: it is not there, and cannot be fetched.
        InputError: it is no model, or a package is not installed.
    """
    if settings.method == "delf-hub":
        _open_hub_delf(settings).fetch()


def build_extractor(run: Path, settings: RerankSettings) -> FeatureExtractor:
    """Return the extractor that the settings name.

    Raises:
        KeyError: the method is none.
        FileNotFoundError: what the extractor needs of the run is not there.
        ValueError: it belongs to another model.
    """
    return EXTRACTORS[settings.method](run, settings)


def find_fingerprint(run: Path, settings: RerankSettings) -> str:
    """Return the fingerprint of the extractor without loading a network.

    Raises:
        MissingFileError: DELF is not trained.
        InputError: delf.json is damaged.
    """
    if settings.method != "delf":
        return build_extractor(run, settings).fingerprint
    trained = json.loads(intact_file(run / "delf", "delf.json").read_bytes())
    return fingerprint_extraction(trained["fingerprint"], settings.delf)
