"""Put a report into headings, sentences and tables of text, for the terminal and for the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.datasets.facts.class_sizes import DECILES, FEW, ClassSizes
from pipelines.datasets.facts.image_sizes import TINY, ImageFacts, Share, Spread
from pipelines.datasets.facts.tables import QueryFacts

from .data_report import DataReport, Facts, Machine
from .units import DAY, format_bytes, format_percent, format_seconds

if TYPE_CHECKING:
    from pipelines.stages.plan import Plan, StagePlan  # torch takes seconds

Row = tuple[str, ...]
BUSY = 1.5  # processes a core that run or wait to, from which on it is said
LONG = 7 * DAY  # seconds that nobody waits for
FEWER = "fewer images a landmark: cairn data select --cap 100"
# What to do where a stage does not fit, by what there is too little of.
REMEDIES = {
    ("train", "memory"): "lower train.classes_per_batch or train.image_size",
    ("embed", "memory"): "lower embed.batch_size",
    ("train", "time"): f"a GPU; fewer train.epochs; {FEWER}",
    ("embed", "time"): f"a GPU; one view (embed.scales = [1.0], embed.crops = 0); {FEWER}",
    ("features", "time"): f'lower rerank.max_side; rerank.method = "none"; {FEWER}',
    ("features", "disk"): f'lower rerank.max_features; rerank.method = "none"; {FEWER}',
    ("submit", "time"): "lower rerank.candidates",
}


@dataclass(frozen=True)
class Grid:
    """A table: the first column is text, the others are figures unless they are named as text."""

    columns: Row
    rows: tuple[Row, ...]
    caption: str = ""
    text: tuple[int, ...] = (0,)  # columns that are text
    strong: tuple[int, ...] = ()  # rows that sum up others


@dataclass(frozen=True)
class Section:
    """What stands below one heading."""

    title: str
    grids: tuple[Grid, ...] = ()
    notes: tuple[str, ...] = ()  # sentences below the tables
    warnings: tuple[tuple[str, str], ...] = ()  # what is wrong, and what to do


def make_sections(report: DataReport) -> tuple[Section, ...]:
    """Return the whole report in the order it is read."""
    facts = report.facts
    sections = [Section("What has to be mended", notes=facts.problems)] if facts.problems else []
    sections.append(_describe_classes(facts))
    if facts.queries is not None:
        sections.append(_describe_queries(facts.queries))
    sections.append(_describe_images(facts.images))
    if report.plan is not None:
        sections.append(_describe_plan(report.plan, report.machine))
    elif report.no_plan:
        sections.append(Section("Plan", notes=(f"There is no plan: {report.no_plan}.",)))
    return tuple(sections)


def _describe_classes(facts: Facts) -> Section:
    named = _name_sizes(facts)
    tables = [
        (table.name, f"{table.rows:,}", "-" if table.classes is None else f"{table.classes:,}")
        for table in facts.tables
    ]
    percentiles = [(name, *(f"{size:,}" for _, size in sizes.percentiles)) for name, sizes in named]
    largest = [
        (f"{large.landmark_id}", large.name or "-", f"{large.images:,}") for large in facts.largest
    ]
    grids = [
        Grid(("images of a landmark", *(name for name, _ in named)), tuple(_summarize(named))),
        Grid(("landmark", "name", "images"), tuple(largest), text=(0, 1)),
        Grid(
            ("per cent of landmarks", *(f"{percent}" for percent in DECILES)),
            tuple(percentiles),
            "have at most so many images",
        ),
        Grid(("table", "rows", "landmarks"), tuple(tables)),
    ]
    if facts.before is not None and facts.before.reasons:
        reasons = tuple((reason, f"{count:,}") for reason, count in facts.before.reasons)
        grids.append(Grid(("left out because", "images"), reasons))
    return Section("Landmarks", tuple(grids))


def _name_sizes(facts: Facts) -> list[tuple[str, ClassSizes]]:
    named = [(f"before: {facts.before.name}", facts.before.sizes)] if facts.before else []
    return [*named, *facts.sizes.items()]


def _summarize(named: Sequence[tuple[str, ClassSizes]]) -> Iterator[Row]:
    """Yield a row for each figure, a column for each table."""
    sizes = [size for _, size in named]
    yield "images", *(f"{size.images:,}" for size in sizes)
    yield "landmarks", *(f"{size.classes:,}" for size in sizes)
    yield "fewest", *(f"{size.smallest:,}" for size in sizes)
    yield "median", *(f"{size.median:,}" for size in sizes)
    yield "mean", *(f"{size.mean:,.1f}" for size in sizes)
    yield "most", *(f"{size.largest:,}" for size in sizes)
    yield "landmarks of one image", *(_count(size.singletons, size.classes) for size in sizes)
    yield f"of fewer than {FEW}", *(_count(size.below_ten, size.classes) for size in sizes)
    yield (
        "images in the largest 1 %",
        *(format_percent(size.top_share) for size in sizes),
    )
    yield "inequality (Gini)", *(f"{size.gini:.2f}" for size in sizes)


def _count(part: int, whole: int) -> str:
    return f"{part:,} ({format_percent(part / whole)})" if part else "none"


def _describe_queries(queries: QueryFacts) -> Section:
    shown = queries.queries - queries.distractors
    rows = (
        ("queries", f"{queries.queries:,}"),
        ("without a landmark", _count(queries.distractors, queries.queries or 1)),
        ("landmarks asked about", f"{queries.classes:,}"),
        ("landmarks not in training", _count(queries.untrained_classes, queries.classes or 1)),
        ("queries of these alone", _count(queries.untrained_queries, shown or 1)),
        ("landmarks not in the database", _count(queries.unknown_classes, queries.classes or 1)),
        ("queries nobody can answer", _count(queries.unanswerable, shown or 1)),
    )
    return Section("Test", (Grid(("of the solution", "count"), rows),))


def _describe_images(images: ImageFacts) -> Section:
    spreads = {
        "width, pixels": (images.width, ",.0f"),
        "height, pixels": (images.height, ",.0f"),
        "megapixels": (images.megapixels, ".2f"),
        "width / height": (images.aspect, ".2f"),
        "file, kB": (images.kilobytes, ",.0f"),
    }
    rows = [
        (name, *_format_spread(spread, form))
        for name, (spread, form) in spreads.items()
        if spread is not None
    ]
    grids = [Grid(("images", "least", "10 %", "median", "90 %", "most"), tuple(rows))]
    if images.reasons:
        reasons = tuple((reason, f"{count:,}") for reason, count in images.reasons)
        grids.append(Grid(("cannot be read", "images"), reasons))
    return Section("Images", tuple(grids), tuple(_note_images(images)))


def _note_images(images: ImageFacts) -> Iterator[str]:
    if images.looked_at == images.images:
        yield f"All {images.images:,} images were looked at: {format_bytes(images.bytes)}."
    else:
        yield (
            f"Of {images.images:,} images a sample of {images.looked_at:,} was looked at, drawn at "
            f"random; all take about {format_bytes(images.bytes)}. ± is one standard error."
        )
    yield f"Smaller than {TINY} pixels: {_format_found(images.tiny)}."
    yield f"Cannot be read: {_format_found(images.unreadable)}."


def _format_found(share: Share) -> str:
    if not share.images:
        return "none"
    return f"{share.images:,}, which is {format_percent(share.share, share.error)}"


def _format_spread(spread: Spread, form: str) -> Row:
    values = (spread.least, spread.tenth, spread.median, spread.ninetieth, spread.most)
    return tuple(format(value, form) for value in values)


def _describe_plan(plan: "Plan", machine: Machine) -> Section:
    stages = plan.stages
    rows = [
        (
            stage.stage,
            format_seconds(stage.seconds),
            _format_range(stage.low, stage.high),
            format_bytes(stage.disk),
            format_bytes(stage.memory) if stage.memory else "-",
        )
        for stage in stages
    ]
    low, seconds, high = (
        sum(getattr(stage, name) for stage in stages) for name in ("low", "seconds", "high")
    )
    disk, memory = sum(stage.disk for stage in stages), max(stage.memory for stage in stages)
    total = (format_seconds(seconds), _format_range(low, high), format_bytes(disk))
    rows.append(("all, one after the other", *total, format_bytes(memory) if memory else "-"))
    columns = ("stage", "time", "between", "disk", "memory")
    grid = Grid(columns, tuple(rows), f"recipe {plan.recipe}", strong=(len(stages),))
    notes = tuple(_describe_circumstances(plan, machine))
    return Section("What a run will take", (grid,), notes, tuple(_find_limits(plan, machine)))


def _format_range(low: float, high: float) -> str:
    return f"{format_seconds(low)} - {format_seconds(high)}"


def _describe_circumstances(plan: "Plan", machine: Machine) -> Iterator[str]:
    sizes = [f"{size:,}" for size in plan.samples]
    yield (
        f"Measured: all stages, on samples of {', '.join(sizes[:-1])} and {sizes[-1]} images, "
        f"{format_seconds(plan.measured)} in all. Extrapolated from them: all figures, to the "
        f"{plan.images:,} images of the run. What every run does once is told apart from what an "
        "image takes by the sizes of the samples; what the exact search takes of a large database "
        "cannot be seen in small ones, and comes on top, as does the start of the command."
    )
    if not plan.tuned:
        yield (
            "The samples kept the pretrained features; where training helps, the two lie side by "
            "side, and embed takes about twice as long."
        )
    yield (
        f"This machine: {machine.cores} cores, {format_bytes(machine.memory)} of memory, "
        f"{format_bytes(machine.disk_free)} free on disk."
    )
    if machine.load > BUSY * machine.cores:
        yield (
            f"It was busy: {machine.load:.0f} processes ran or waited for its cores. Plan again "
            "when it is not, for a run will take less."
        )


def _find_limits(plan: "Plan", machine: Machine) -> Iterator[tuple[str, str]]:
    """Yield what is too large for the machine, or too long for anybody, and what to do."""
    disk = sum(stage.disk for stage in plan.stages)
    if disk > machine.disk_free:
        most = max(plan.stages, key=lambda stage: stage.disk)
        yield (
            f"The run takes {format_bytes(disk)} on disk, {format_bytes(machine.disk_free)} are "
            f"free; {format_bytes(most.disk)} of it are of {most.stage}",
            f"{_remedy(most, 'disk')}; or name a --run on a larger disk",
        )
    for stage in plan.stages:
        if stage.memory > machine.memory:
            held = f"{format_bytes(stage.memory)} of memory, the machine has "
            yield (
                f"{stage.stage} needs {held}{format_bytes(machine.memory)}",
                _remedy(stage, "memory"),
            )
        if stage.seconds > LONG:
            yield f"{stage.stage} takes {format_seconds(stage.seconds)}", _remedy(stage, "time")


def _remedy(stage: "StagePlan", of: str) -> str:
    return REMEDIES.get((stage.stage, of), FEWER)
