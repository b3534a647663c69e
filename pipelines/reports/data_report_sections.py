"""Put a report into headings, sentences and tables of text, for the terminal and for the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.datasets.facts.class_sizes import DECILES, FEW, ClassSizes
from pipelines.datasets.facts.image_sizes import TINY, ImageFacts, Share, Spread
from pipelines.datasets.facts.tables import QueryFacts
from pipelines.stages.forecast.chosen import Chosen
from pipelines.stages.forecast.stage_plan import StagePlan
from pipelines.stages.forecast.units import say_bytes, say_seconds, say_share

from .data_report import DataReport, Facts, Plan

Row = tuple[str, ...]
BUSY = 0.1  # share of the processors that others had, from which on it is said


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
        sections.append(_describe_plan(report.plan))
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
        *(say_share(size.top_share) for size in sizes),
    )
    yield "inequality (Gini)", *(f"{size.gini:.2f}" for size in sizes)


def _count(part: int, whole: int) -> str:
    return f"{part:,} ({say_share(part / whole)})" if part else "none"


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
        (name, *_say_spread(spread, form))
        for name, (spread, form) in spreads.items()
        if spread is not None
    ]
    grids = [Grid(("images", "least", "10 %", "median", "90 %", "most"), tuple(rows))]
    if images.reasons:
        reasons = tuple((reason, f"{count:,}") for reason, count in images.reasons)
        grids.append(Grid(("cannot be read", "images"), reasons))
    return Section("Images", tuple(grids), tuple(_say_images(images)))


def _say_images(images: ImageFacts) -> Iterator[str]:
    if images.looked_at == images.images:
        yield f"All {images.images:,} images were looked at: {say_bytes(images.bytes)}."
    else:
        yield (
            f"Of {images.images:,} images a sample of {images.looked_at:,} was looked at, drawn at "
            f"random; all take about {say_bytes(images.bytes)}. ± is one standard error."
        )
    yield f"Smaller than {TINY} pixels: {_say_found(images.tiny)}."
    yield f"Cannot be read: {_say_found(images.unreadable)}."


def _say_found(share: Share) -> str:
    if not share.images:
        return "none"
    return f"{share.images:,}, which is {say_share(share.share, share.error)}"


def _say_spread(spread: Spread, form: str) -> Row:
    values = (spread.least, spread.tenth, spread.median, spread.ninetieth, spread.most)
    return tuple(format(value, form) for value in values)


def _describe_plan(plan: Plan) -> Section:
    busy = plan.rates.others >= BUSY
    rows: list[Row] = []
    strong: list[int] = []
    for stage in plan.stages:
        strong.append(len(rows))
        rows.append(_say_stage(stage, busy))
        rows += [
            (
                f"  {part.what}",
                say_seconds(part.seconds) if part.seconds else "",
                *([say_seconds(part.alone) if part.alone else ""] if busy else []),
                say_bytes(part.disk) if part.disk else "",
                "",
            )
            for part in stage.parts
        ]
    strong.append(len(rows))
    rows.append(_say_total(plan, busy))
    columns = ("stage", "time", *(["alone"] if busy else []), "disk", "memory")
    caption = f"recipe {plan.recipe}; all figures are estimates"
    grid = Grid(columns, tuple(rows), caption, strong=tuple(strong))
    warnings = tuple((f"{limit.stage}: {limit.problem}", limit.remedy) for limit in plan.limits)
    return Section("What a run will take", (grid,), tuple(_say_circumstances(plan)), warnings)


def _say_stage(stage: StagePlan, busy: bool) -> Row:
    times = [say_seconds(stage.seconds), *([say_seconds(stage.alone)] if busy else [])]
    return (stage.stage, *times, say_bytes(stage.disk), say_bytes(stage.total_memory))


def _say_total(plan: Plan, busy: bool) -> Row:
    stages = plan.stages
    times = [say_seconds(sum(stage.seconds for stage in stages))]
    times += [say_seconds(sum(stage.alone for stage in stages))] if busy else []
    memory = say_bytes(max(stage.total_memory for stage in stages))
    return ("all, one after the other", *times, say_bytes(sum(s.disk for s in stages)), memory)


def _say_circumstances(plan: Plan) -> Iterator[str]:
    machine, rates = plan.machine, plan.rates
    if plan.chosen is not None:
        yield _say_chosen(plan.chosen)
    gpu = f", {machine.gpu}" if machine.gpu else ""
    yield (
        f"This machine: {machine.cores} cores{gpu}, {say_bytes(machine.memory)} of memory, "
        f"{say_bytes(machine.disk_free)} free on disk."
    )
    yield (
        f"Each part was timed on images of the dataset, {rates.seconds:.0f} s in all, and "
        "multiplied. Expect a factor of 1.5 either way; a disk that is slower than the memory the "
        "files were read from adds its own time."
    )
    if rates.others >= BUSY:
        yield (
            f"Other programs had {rates.others:.0%} of the processor meanwhile: 'time' is with "
            "them, 'alone' is without, and the less certain the more they had."
        )
    yield from _say_heads(plan)
    scratch = max(stage.scratch for stage in plan.stages)
    if scratch:
        yield f"While it trains, checkpoints take up to {say_bytes(scratch)} more."
    yield f"{say_bytes(rates.libraries)} of the memory are the libraries."


def _say_chosen(chosen: Chosen) -> str:
    others = {"to validate": chosen.validation, "to ask about": chosen.test}
    said = "".join(f", {count:,} {name}" for name, count in others.items() if count)
    return (
        f"The plan is for what the recipe's section [data] chooses: {chosen.training:,} images of "
        f"{chosen.landmarks:,} landmarks to train on{said}."
    )


def _say_heads(plan: Plan) -> Iterator[str]:
    """Say where a head was too large to be timed with all its classes."""
    for model, rates in zip(plan.work.models, plan.rates.models, strict=True):
        if rates.timed_classes < model.classes:
            of = f" of {model.name}" if model.name else ""
            yield (
                f"The head{of} was timed with {rates.timed_classes:,} of its {model.classes:,} "
                "classes, lest it took all the memory: training and describing take longer than "
                "said."
            )
