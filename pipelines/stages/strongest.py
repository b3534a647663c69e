"""Choose the recipe by the time there is, `--time`: the strongest that the machine does in it.

Measures networks of random weights, and counts photos in the tables of the dataset. Opens no image
and writes nothing: what was chosen, and from what, is recorded with the run.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from embed.backbone import BackboneSpec
from embed.hub import find_problem
from embed.model import DescriptorModel, ModelSpec
from embed.strong_backbones import RANKED, STRONG_BACKBONES
from embed.torch_engine import TorchEngine, pick_device
from embed.views import Views
from pipelines.runs.job import Job, read_run
from pipelines.runs.networks import is_trained
from pipelines.runs.recipe import Recipe, load_recipe

from .plan import count_work

logger = logging.getLogger(__name__)

SHARE = 0.5  # of the time that the network may take: photos are decoded, verified and answered, too
BATCHES = 3  # that are measured, after one image that warms up
PATIENCE = 2.0  # seconds after which no further batch is begun, and that none should take


@dataclass(frozen=True, eq=False)
class Candidate:
    """A recipe that may be taken."""

    name: str
    recipe: Recipe

    @property
    def network(self) -> str:
        """Its network, without the name of weights."""
        return self.recipe.train.backbone.partition(".")[0]

    def __str__(self) -> str:
        """Return what people are told."""
        return f"{self.name} with {self.network}"


def list_candidates() -> list[Candidate]:
    """Return what --time chooses among, each stronger than the one before."""
    small, *frozen = RANKED
    found = [Candidate(name, load_recipe(name)) for name in ("untrained", "photos")]
    assert {each.network for each in found} == {small}
    for network in frozen:
        row = STRONG_BACKBONES[network]
        changes = [
            f"train.backbone={network}.{row.weights}",
            f"train.image_size={row.image_size}",
        ]
        found.append(Candidate("frozen", load_recipe("frozen", changes=changes)))
    return found


def choose_by_time(job: Job, seconds: float) -> Job:
    """Return the job with the strongest recipe whose network takes SHARE of the time at most.

    A run that has chosen, or has a model, keeps its own; so does a job with a weights file, which
    says what network it is of, and one whose weights the hub cannot be asked for. One line says
    what was taken, and why.

    Args:
        job: its recipe is the default; its dataset is there.
        seconds: for the whole run.

    Raises:
        InputError: what is wrong with the tables of the dataset.
    """
    kept = f"--time changes nothing: the recipe is '{job.recipe_name}' with {_network(job)}"
    recorded = read_run(job.run) or {}
    if "time" in recorded or is_trained(job.run):
        if recorded.get("time", {}).get("asked") != seconds:
            logger.info("%s, as %s was begun; name another --run to choose anew", kept, job.run)
        return job
    if job.weights is not None:
        logger.info("%s, or what %s is of", kept, job.weights.name)
        return job
    if problem := find_problem(f"timm/{RANKED[1]}.{STRONG_BACKBONES[RANKED[1]].weights}"):
        logger.info("%s, for the hub that has others cannot be reached (%s)", kept, problem)
        return job
    job.dataset.check_tables()
    reckoned = dict(reckon(job, seconds * SHARE))
    fitting = [each for each, takes in reckoned.items() if takes <= seconds * SHARE]
    # Where none fits, the one that is over soonest.
    chosen = fitting[-1] if fitting else min(reckoned, key=reckoned.__getitem__)
    logger.info(
        "%g s, of which the network may take %g: %s; takes %s%s",
        *(seconds, seconds * SHARE),
        ", ".join(f"{each} {takes:.0f} s" for each, takes in reckoned.items()),
        *(chosen, "" if fitting else ", the fastest, for none does it in time"),
    )
    timed = {"asked": seconds, "reckoned": {str(each): reckoned[each] for each in reckoned}}
    return replace(job, recipe=chosen.recipe, recipe_name=chosen.name, timed=timed)


def reckon(job: Job, limit: float) -> Iterator[tuple[Candidate, float]]:
    """Yield each candidate with the seconds that its network takes for a job.

    Training steps count as STEP passes, of whatever is not frozen: that is the most they take. A
    transformer that would take twice the limit at the pace of the one before is not measured, and
    the last: those after it are larger still.
    """
    measured: dict[str, float] = {}  # seconds of an image, by network
    pace = 0.0  # seconds of a GFLOP of the last transformer
    for candidate in list_candidates():
        work = count_work(replace(job, recipe=candidate.recipe))
        passes, network = work["train"].items + work["embed"].items, candidate.network
        row = STRONG_BACKBONES[network]
        if (takes := passes * row.gflops * pace) > 2 * limit:
            yield candidate, takes
            return
        if network not in measured:
            measured[network] = measure(candidate.recipe)
        pace = measured[network] / row.gflops if row.patch else 0.0
        yield candidate, passes * measured[network]


def measure(recipe: Recipe) -> float:
    """Return the seconds that this machine takes to describe an image by a recipe's network."""
    device, train = pick_device(), recipe.train
    spec = BackboneSpec(train.backbone)
    model = DescriptorModel(ModelSpec.of(spec, train)).to(device).eval()
    engine, views = TorchEngine(model), Views.of(recipe.embed)
    batch = engine.fit_batch(recipe.embed.batch_size)
    side = views.input_side(model)
    images = np.zeros((batch, 3, side, side), dtype=np.uint8)

    def describe_first(count: int) -> float:
        started = time.perf_counter()
        engine.describe(images[:count], views)
        return time.perf_counter() - started

    if describe_first(1) * batch > PATIENCE:  # this one warms up, too
        batch = 1
    times: list[float] = []
    while len(times) < BATCHES and sum(times) < PATIENCE:
        times.append(describe_first(batch))
    return min(times) / batch


def _network(job: Job) -> str:
    return Candidate(job.recipe_name, job.recipe).network
