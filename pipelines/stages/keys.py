"""What decides the content of each artifact: the settings that its stage reads, and its inputs.

Reads manifests and the journal of changes, and hashes the tables of the dataset. Makes nothing, and
imports neither torch nor faiss: a finished run is told by its keys alone.
"""

from collections.abc import Mapping
from typing import Any

from pipelines.answers.decision import decision_settings
from pipelines.answers.extractors import find_fingerprint
from pipelines.answers.live import load_live
from pipelines.artifacts import Manifest, hash_values, load_manifest
from pipelines.runs.artifact import Artifact
from pipelines.runs.changes import list_changes
from pipelines.runs.decoding import decoding
from pipelines.runs.engines import HEAD_FILE, embed_settings, pick_engine
from pipelines.runs.job import Job, weights_inputs
from pipelines.runs.members import list_member_jobs
from rerank.delf.settings import LOCAL_FILE, joint_settings

# Settings that DELF's training does not read: with others the features are made anew, not it.
EXTRACTION = {"extraction_batch", "scales", "max_features", "score_threshold", "nms_overlap"}
FINISHING = {"stride", "hidden", "reduction", "dim"}  # settings of what was trained along
SUBMIT_SECTIONS = ("search", "rerank", "decide")


def model_artifact(job: Job) -> Artifact:
    """Return model/. Not an input: the pool, which only helps to choose among epochs.

    Raises:
        MissingFileError: there is no train.csv, or no weights file, but a model to be trained.
    """
    recipe = job.recipe
    settings = {
        "train": recipe.train.model_dump(mode="json", exclude={"cache_gigabytes"}),
        "decode": recipe.decode.model_dump(mode="json"),
    }
    if recipe.train.local_weight:
        settings["delf"] = joint_settings(recipe.rerank.delf)
    inputs = {**_hash_training(job), **weights_inputs(job)}
    return Artifact(job, "train", job.run / "model", settings, inputs, dear=True)


def _hash_training(job: Job) -> dict[str, str]:
    """Return the hash of train and validation, as far as they are there.

    A finished model remembers them, and does not need train.csv any more; without training the
    classes are those of index.csv.
    """
    dataset = job.dataset
    if dataset.find_table("train") is None and (trained := load_manifest(job.run / "model")):
        return {n: sha for n, sha in trained.inputs.items() if n in ("train", "validation")}
    name = "train" if job.recipe.train.epochs else dataset.class_split
    inputs = {"train": dataset.hash_table(name)}
    if dataset.find_table("validation"):
        inputs["validation"] = dataset.hash_table("validation")
    return inputs


def is_joint(job: Job) -> bool:
    """Tell whether DELF is trained along with the model; of an ensemble its first member's."""
    return list_member_jobs(job)[0].recipe.train.local_weight > 0


def delf_artifact(job: Job, trained: Manifest) -> Artifact:
    """Return delf/. Where DELF was trained along with the model, that model's settings decide."""
    inputs = {
        "train": job.dataset.hash_table("train"),
        "model": str(trained.model["fingerprint"]),
    }
    delf, decode = job.recipe.rerank.delf, job.recipe.decode.model_dump()
    settings: dict[str, Any] = {"decode": decode}
    if is_joint(job):
        inputs["local"] = _hash_output(trained, LOCAL_FILE)
        settings = {"delf": delf.model_dump(mode="json", include=FINISHING), **settings}
    else:
        settings = {
            "delf": delf.model_dump(mode="json", exclude=EXTRACTION),
            "augment": job.recipe.train.augment.model_dump(),
            **settings,
        }
    return Artifact(job, "train_delf", job.run / "delf", settings, inputs, dear=True)


def embeddings_artifact(
    job: Job, name: str, table_hash: str, trained: Manifest, decode: Mapping[str, Any]
) -> Artifact:
    """Return embeddings/<name>/ of a model; decode is `decoding` of the whole recipe."""
    settings = {"embed": embed_settings(job.recipe.embed), "decode": decode}
    inputs = {
        name: table_hash,
        "model": str(trained.model["fingerprint"]),
        "head": _hash_output(trained, HEAD_FILE),
        "engine": pick_engine(job.recipe.embed.engine, trained.model),
    }
    return Artifact(job, "embed", job.run / "embeddings" / name, settings, inputs, table=name)


def combined_artifact(
    job: Job, name: str, table_hash: str, made: Mapping[str, Manifest]
) -> Artifact:
    """Return embeddings/<name>/ of an ensemble, from those of its members by their names."""
    ensemble = job.recipe.ensemble
    settings = {
        "rule": ensemble.rule,
        "weights": list(ensemble.weights),
        "dtype": job.recipe.embed.dtype,
    }
    inputs = {name: table_hash, **{member: each.content for member, each in made.items()}}
    return Artifact(job, "embed", job.run / "embeddings" / name, settings, inputs)


def features_artifact(job: Job, name: str, table_hash: str) -> Artifact:
    """Return features/<name>/; of DELF once it is trained."""
    settings = {"decode": decoding(job.recipe)}
    inputs = {name: table_hash, "extractor": find_fingerprint(job.run, job.recipe.rerank)}
    return Artifact(job, "features", job.run / "features" / name, settings, inputs, table=name)


def index_artifact(
    job: Job, embedded: Mapping[str, Manifest], features: Mapping[str, Manifest]
) -> Artifact:
    """Return index/.

    The index itself needs the embeddings of the database alone. Features and pool are inputs all
    the same, for whatever is compared with them is compared with this state of them.
    """
    split, search = job.dataset.database_split, job.recipe.search
    unread = {"expand_query", "alpha"}
    if search.compares_all(*_bound_vectors(embedded[split], job)):
        unread.add("neighbors")  # for which any other index is tuned
    settings = {
        "database": split,
        "search": search.model_dump(exclude=unread),
        "landmark_head": job.recipe.decide.landmark_head,
    }
    inputs = {name: manifest.content for name, manifest in embedded.items()}
    inputs |= {f"features {name}": manifest.content for name, manifest in features.items()}
    return Artifact(job, "index", job.run / "index", settings, inputs)


def _bound_vectors(embedded: Manifest, job: Job) -> tuple[int, int]:
    """Return as many vectors as embeddings have at most, and as many bytes as float32.

    Their parts hold two or four bytes a number, of which compression saves next to nothing.
    """
    each = 1 + sum(grid * grid for grid in job.recipe.embed.regions.grids)
    parts = (record.bytes for record in embedded.outputs if record.name.startswith("part-"))
    return each * embedded.counts["written"], 4 * sum(parts)


def decision_artifact(job: Job, indexed: Manifest, held_out: Mapping[str, Manifest]) -> Artifact:
    """Return decision/, from the index and what is known of the photos held out of training."""
    settings, inputs = decision_settings(job.recipe), {"index": indexed.key}
    inputs |= {name: manifest.content for name, manifest in held_out.items()}
    return Artifact(job, "decision", job.run / "decision", settings, inputs)


def submission_artifact(
    job: Job, indexed: Manifest, embedded: Manifest, features: Manifest | None
) -> Artifact:
    """Return submit/, from the index, what changed since, and what is known of the test images."""
    settings = {name: getattr(job.recipe, name).model_dump() for name in SUBMIT_SECTIONS}
    inputs = {"index": indexed.key, "test": embedded.content}
    if features:
        inputs["features test"] = features.content
    names = job.dataset.names
    if list_changes(job.run):
        live = load_live(job.run, names)
        names = live.names
        if live.content:  # else as if nothing had been changed
            inputs["changes"] = live.content
    inputs["names"] = hash_values({str(label): name for label, name in names.items()})
    return Artifact(job, "submit", job.run / "submit", settings, inputs)


def _hash_output(made: Manifest, name: str) -> str:
    """Return the sha256 of a file of a finished artifact."""
    return next(record.sha256 for record in made.outputs if record.name == name)
