"""Print figures and answers as tables for people. Computes nothing."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from embed.printable import printable
from pipelines.answers.supporters import format_box, name_landmark

if TYPE_CHECKING:  # what makes them takes seconds to import
    from pipelines.answers.answer import Answer
    from pipelines.runs.verify import CheckedArtifact
    from pipelines.scores.ablate import Ablation, Row
    from pipelines.scores.compare import RunComparison

STEP_NAMES = {
    "head_only": "classification head alone",
    "knn": "k nearest neighbours",
    "reranked": "+ re-ranking",
    "final": "final",
}
LOST_NAMES = {
    "wrong_label": "wrong label",
    "distractor_above": "right, but below an answered distractor",
    "ranked_too_low": "right, but below a wrong answer",
    "unanswered": "no answer",
}
PROMISED = {  # kinds of distractors
    "pool": "promised for photos of other things",
    "removed": "promised for landmarks not in the database",
}
PIPED_WIDTH = 1000  # columns; rich takes 80 where there is no terminal, and wraps tables
SOURCES_WIDTH = 120  # columns; narrower, the policies of an ablation go without their sources
NAMED = 10  # queries that are named of a list; --json has all

Rows = Iterator[tuple[str, str]]


def escape(text: str) -> str:
    """Return text that rich prints as it stands, on one line, whatever it holds."""
    return escape_markup(printable(text))


def open_console() -> Console:
    """Return a console that prints to standard output; in a pipe, lines are as long as need be."""
    console = Console(emoji=False)  # a name may have :house: in it
    return console if console.is_terminal else Console(emoji=False, width=PIPED_WIDTH)


def make_table(*columns: str) -> Table:
    """Return a table without lines around it; the first column is text, the others figures."""
    table = Table(box=None, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    return table


def print_summary(metrics: dict[str, Any], console: Console) -> None:
    """Print the figures of one submission, group by group."""
    if "gap" not in metrics:  # a ground truth of its own, and no solution
        return
    groups = {
        "score": _score_rows(metrics),
        f"why: where the missing {1 - metrics['gap']:.4f} of GAP went": _loss_rows(metrics),
        "confidences": _confidence_rows(metrics),
    }
    if "steps" in metrics:
        groups["answers given"] = _given_rows(metrics)
        groups["data"] = _data_rows(metrics)
    for number, (title, rows) in enumerate(groups.items()):
        if number:
            console.print()
        console.print(f"[bold]{title}[/]", highlight=False)
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, value in rows:
            table.add_row(f"  {name}", value)
        console.print(table)


def _score_rows(metrics: dict[str, Any]) -> Rows:
    low, high = metrics["gap_interval"]
    least, most, _ = metrics["tie_envelope"]
    yield "GAP, with distractors", f"{metrics['gap']:.4f}  (95 %: {low:.3f} to {high:.3f})"
    yield "GAP, landmark queries only", f"{metrics['gap_landmark_only']:.4f}"
    yield "GAP, ties broken worst to best", f"{least:.4f} to {most:.4f}"
    yield "top-1, landmark queries", f"{metrics['top1']:.4f}"
    for k, value in metrics.get("recall_at_k", {}).items():
        yield f"recall@{k} of the neighbours", f"{value:.4f}"
    if (mean := metrics.get("map_at_100")) is not None:
        yield "mAP@100 of the neighbours", f"{mean:.4f}"
    counts = (metrics["n_queries"], metrics["n_landmark"], metrics["n_answered"])
    yield "queries", "{} of which {} show a landmark, {} ranked".format(*counts)


def _loss_rows(metrics: dict[str, Any]) -> Rows:
    for name, value in metrics["lost_gap"].items():
        yield LOST_NAMES[name], f"{value:.4f}"
    bound = f"{metrics['reorder_bound']:.4f}"
    yield "GAP of these answers in the best order", bound


def _confidence_rows(metrics: dict[str, Any]) -> Rows:
    area, excess = metrics["risk_coverage_area"], metrics["excess_risk_coverage_area"]
    yield "risk-coverage area (AURC)", f"{area:.4f}, of which the order costs {excess:.4f}"
    if metrics["calibration_note"]:
        yield "as probabilities", f"not measured: {metrics['calibration_note']}"
        return
    yield "expected calibration error", f"{metrics['expected_calibration_error']:.4f}"
    yield "largest calibration error of ten bins", f"{metrics['maximum_calibration_error']:.4f}"
    yield "Brier score", f"{metrics['brier_score']:.4f}"


def _given_rows(metrics: dict[str, Any]) -> Rows:
    point, distractors = metrics["operating_point"], metrics["n_queries"] - metrics["n_landmark"]
    if point["threshold"] is not None:
        yield "from confidence", f"{point['threshold']:.4f} on"
    given = f"{point['answered']} of {metrics['n_queries']} queries"
    yield "coverage", f"{point['coverage']:.4f}  ({given})"
    if point["precision"] is not None:
        low = f"at least {point['precision_low']:.3f}, with 95 % confidence"
        yield "precision", f"{point['precision']:.4f}  ({low})"
    yield from _promise_rows(point)
    yield "distractors that got an answer", f"{point['answered_distractors']} of {distractors}"


def _promise_rows(point: dict[str, Any]) -> Rows:
    """Yield what was promised for either kind of distractors."""
    for kind, promise in point["promises"].items():
        if promise is None or promise["precision"] is None:
            continue
        bound = f"at least {promise['precision_low']:.3f}"
        value = f"{promise['precision']:.4f}  ({bound}) if {point['promised_share']:.0%} are such"
        here = promise["at_test_share"]
        yield (
            PROMISED[kind],
            f"{value}; {here['precision']:.4f} at the {point['test_share']:.0%} here",
        )


def _data_rows(metrics: dict[str, Any]) -> Rows:
    found = metrics["near_duplicates"]
    name = "near-duplicates of database images"
    if not found["queries"]:
        yield name, f"none among the queries ({found['criterion']})"
    else:
        count = "1 query" if found["queries"] == 1 else f"{found['queries']} queries"
        yield name, f"{count} ({found['criterion']}), listed in near_duplicates.csv"
        without = found["gap_without"]
        yield "GAP without these", "no landmark is left" if without is None else f"{without:.4f}"
    if metrics["operating_point"]["note"]:
        yield "known queries", metrics["operating_point"]["note"]


def print_steps(metrics: dict[str, Any], console: Console) -> None:
    """Print the figures of a run step by step."""
    unseen = metrics["unseen"]
    table = make_table("step", "GAP", "landmark only", "top-1", *(["untrained"] if unseen else []))
    for name, figures in metrics["steps"].items():
        values = [figures["gap"], figures["gap_landmark_only"], figures["top1"]]
        values += [unseen[name]] if unseen else []
        table.add_row(STEP_NAMES[name], *(f"{value:.4f}" for value in values))
    console.print()
    console.print(table)
    if unseen:
        left_out = metrics["n_queries"] - unseen["n_queries"]
        console.print(f"untrained: GAP without the {left_out} queries of trained landmarks")


def print_revisited(figures: dict[str, Any], console: Console) -> None:
    """Print the figures of revisited Oxford or Paris, in percent as they are published."""
    table = make_table("revisited, %", "mAP", "mP@1", "mP@5", "mP@10", "queries")
    for suffix, group in (("", figures), (", re-ranked", figures.get("reranked", {}))):
        for name in ("easy", "medium", "hard"):
            if name not in group:
                continue
            values = [group[name][key] for key in ("map", "mp@1", "mp@5", "mp@10")]
            cells = ["-" if value is None else f"{100 * value:.2f}" for value in values]
            table.add_row(name + suffix, *cells, str(group[name]["queries"]))
    console.print(table)
    unread = [(figures[f"unread_{what}"], what) for what in ("images", "queries")]
    lost = " and ".join(f"{count} {what}" for count, what in unread if count)
    if lost:
        console.print(f"{lost} could not be read, and count as never found", highlight=False)


def print_comparison(compared: "RunComparison", console: Console) -> None:
    """Print both GAPs, their difference and the queries that are answered otherwise."""
    found = compared.comparison
    table = make_table("", "GAP", "95 % interval")
    table.add_row(f"a: {escape(compared.a)}", f"{compared.gap_a:.4f}")
    table.add_row(f"b: {escape(compared.b)}", f"{compared.gap_b:.4f}")
    table.add_row("b - a", f"{found.difference:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}")
    console.print(table)
    chance = found.low <= 0 <= found.high
    verdict = "the interval holds 0, so it may be chance" if chance else "more than chance"
    line = f"\nb is better in {found.share_better:.1%} of the resamples; {verdict}"
    console.print(line, highlight=False)
    for name in ("became_right", "became_wrong"):
        ids: tuple[str, ...] = getattr(found, name)
        listed = ", ".join(ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")
        line = f"{name.replace('_', ' ')} in b: {len(ids)}" + (f" ({listed})" if ids else "")
        console.print(escape(line), highlight=False)


def print_ablation(ablation: "Ablation", console: Console) -> None:
    """Print the policies, the best first below the run's own answers, and what to make of them."""
    table = make_table("policy", "GAP", "to run", "95 % interval", "landmark", "top-1")
    sources = console.width >= SOURCES_WIDTH
    if sources:
        table.add_column("source", no_wrap=True)
    own, *others = [row for row in ablation.rows if row.figures]
    others.sort(key=lambda row: -row.figures.gap if row.figures else 0)
    for row in (own, *others):
        table.add_row(*_ablation_cells(row), *([row.source] if sources else []))
    console.print(table)
    for row in ablation.rows:
        if not row.figures:
            console.print(f"not tried: {row.policy}: {escape(row.missing)}", highlight=False)
    notes = ["landmark: GAP of the landmark queries only; to run: GAP minus that of this run"]
    notes.append("whoever picks a policy by these queries must measure it on others")
    if any(row.transductive for row in ablation.rows):
        notes.append("* looks at all queries together: not for photos that are asked one by one")
    if ablation.self_verified_gap is not None:
        value = f"self-verified GAP of torino: {ablation.self_verified_gap:.4f}"
        notes.append(f"{value}; it uses no ground truth, so it is no GAP and compares with none")
    console.print("\n" + "\n".join(notes), highlight=False)


def _ablation_cells(row: "Row") -> list[str]:
    figures = row.figures
    assert figures is not None
    return [
        row.policy + ("*" if row.transductive else ""),
        f"{figures.gap:.4f}",
        f"{figures.difference:+.4f}",
        f"{figures.low:+.3f} to {figures.high:+.3f}",
        f"{figures.gap_landmark_only:.4f}",
        f"{figures.top1:.4f}",
    ]


def print_answer(answer: "Answer", console: Console, *, explain: bool = False) -> None:
    """Print the answer to one photo, and the database photos for it and for another.

    Args:
        answer: to the photo.
        console: to print to.
        explain: say how the confidence came about, too.
    """
    image = _show(answer.image)
    if answer.error:
        error = answer.error.removeprefix(f"{printable(answer.image)}: ")  # it stands above
        console.print(f"[bold]{image}[/]\n  not read: {_show(error)}", highlight=False)
        return
    if answer.label is None:
        line = f"no known landmark: {_show(answer.reason)}"
    else:
        label = str(answer.label)
        name = _show(answer.name) if answer.name and answer.name != label else "landmark"
        line = f"[green]{name}[/] ({label}), confidence {answer.confidence:.3f}"
    console.print(f"[bold]{image}[/]\n  {line}", highlight=False)
    for further in answer.further:
        x0, y0, x1, y1 = further.box
        also = f"{_show(further.name)} ({further.label}), confidence {further.confidence:.3f}"
        console.print(f"  also [green]{also}[/], pixels {x0},{y0} to {x1},{y1}", highlight=False)
    if explain and answer.explanation:
        console.print(f"  {_show(answer.explanation)}", highlight=False)
    table = Table("neighbour", "landmark", "similarity", "inliers", box=None, padding=(0, 2))
    placed = any(match.query_box or match.box for match in answer.neighbors)
    if placed:
        table.add_column("where in the photo")
    for match in answer.neighbors:
        inliers = "-" if match.inliers is None else "not verified"
        if match.verified:
            inliers = str(match.inliers)
        name = name_landmark(match, answer.guess, match.name)
        shown = [_show(text) for text in (match.image_id, name)]
        where = [format_box(match.query_box)] if placed else []
        table.add_row(*shown, f"{match.similarity:.3f}", inliers, *where)
    console.print(table)


def _show(text: str) -> str:
    """Return anybody's text as rich can print it: no markup, no control characters."""
    return escape(printable(text))


def print_run(metrics: dict[str, Any]) -> None:
    """Print the figures of a run, and those of its steps where there are any."""
    console = open_console()
    print_summary(metrics, console)
    if "steps" in metrics:
        print_steps(metrics, console)
    if "revisited" in metrics:
        print_revisited(metrics["revisited"], console)


def print_checked(found: "Sequence[CheckedArtifact]", console: Console) -> None:
    """Print the artifacts of a run, and a line for each damaged file."""
    table = make_table("artifact", "files", "bytes", "state")
    for each in found:
        colour = "bold red" if each.damages else ""
        sizes = (f"{each.files:,}", f"{each.bytes:,}")
        table.add_row(escape(each.artifact), *sizes, each.state, style=colour)
    console.print(table)
    damages = [line for each in found for line in each.damages]
    for line in damages:
        console.print(f"\n{escape(line)}", soft_wrap=True)
    console.print(f"\n{len(damages)} damaged or missing" if damages else "\nnothing is damaged")


def print_landmarks(rows: Sequence[tuple[int, str | None, int]], console: Console) -> None:
    """Print number, name and photos of each landmark, and how many there are of all."""
    table = Table(box=None, pad_edge=False)
    table.add_column("landmark", justify="right")
    table.add_column("photos", justify="right")
    table.add_column("name")
    for landmark_id, name, count in rows:
        table.add_row(str(landmark_id), str(count), escape(name or ""))
    console.print(table)
    total = sum(count for _, _, count in rows)
    console.print(f"\n{len(rows)} landmarks, {total} photos", highlight=False)
