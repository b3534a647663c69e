"""What decides how a run describes a photo: two descriptions of one key can be compared.

Reads what the extractor of local features says of itself. Imports neither torch nor faiss.
"""

from pathlib import Path
from typing import Any

from pipelines.artifacts import make_key
from pipelines.runs.changes import STAGE
from pipelines.runs.decoding import decoding
from pipelines.runs.engines import embed_settings
from pipelines.runs.members import list_members
from pipelines.runs.recipe import Recipe

from .extractors import find_fingerprint


def description_settings(run: Path, recipe: Recipe) -> dict[str, Any]:
    """Return the settings that a description depends on."""
    members = list_members(run, recipe).values()
    embeds = [embed_settings(member.embed) for member in members]
    return {"embed": embeds, "decode": decoding(recipe)}


def description_inputs(run: Path, recipe: Recipe, fingerprint: str) -> dict[str, str]:
    """Return the models that a description depends on; errors as find_fingerprint.

    Args:
        run: run folder.
        recipe: of the run.
        fingerprint: of the model that describes, or of all of an ensemble.
    """
    local = "" if recipe.rerank.method == "none" else find_fingerprint(run, recipe.rerank)
    return {"model": fingerprint, "extractor": local}


def description_key(run: Path, recipe: Recipe, fingerprint: str) -> str:
    """Return the key of descriptions; arguments and errors as description_inputs."""
    inputs = description_inputs(run, recipe, fingerprint)
    return make_key(STAGE, description_settings(run, recipe), inputs)
