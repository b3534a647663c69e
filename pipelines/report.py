"""Print figures and answers as tables for people. Computes nothing."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .query import Recognition

STEP_NAMES = {
    "head_only": "classification head alone",
    "knn": "k nearest neighbours",
    "reranked": "+ re-ranking",
    "final": "final",
}


def print_summary(metrics: dict[str, Any], console: Console) -> None:
    """Print the figures of one submission."""
    low, high = metrics["gap_interval"]
    least, most, _ = metrics["tie_envelope"]
    table = Table("figure", "value", box=None, pad_edge=False)
    table.add_row("GAP, with distractors", f"{metrics['gap']:.4f}  (95 %: {low:.3f} to {high:.3f})")
    table.add_row("GAP, landmark queries only", f"{metrics['gap_landmark_only']:.4f}")
    table.add_row("GAP, ties broken worst to best", f"{least:.4f} to {most:.4f}")
    table.add_row("top-1, landmark queries", f"{metrics['top1']:.4f}")
    for k, value in metrics.get("recall_at_k", {}).items():
        table.add_row(f"recall@{k} of the neighbours", f"{value:.4f}")
    for name, value in metrics["lost_gap"].items():
        table.add_row(f"GAP lost: {name.replace('_', ' ')}", f"{value:.4f}")
    counts = (metrics["n_queries"], metrics["n_landmark"], metrics["n_answered"])
    table.add_row("queries", "{} of which {} show a landmark, {} answered".format(*counts))
    console.print(table)


def print_steps(metrics: dict[str, Any], console: Console) -> None:
    """Print the figures of a run step by step."""
    unseen = metrics["unseen"]
    columns = ["step", "GAP", "landmark only", "top-1"]
    table = Table(
        *columns, *(["GAP, untrained landmarks"] if unseen else []), box=None, pad_edge=False
    )
    for name, figures in metrics["steps"].items():
        values = [figures["gap"], figures["gap_landmark_only"], figures["top1"]]
        values += [unseen[name]] if unseen else []
        table.add_row(STEP_NAMES[name], *(f"{value:.4f}" for value in values))
    console.print()
    console.print(table)


def print_recognition(answer: Recognition, console: Console) -> None:
    """Print the answer to one photo and its neighbours."""
    image = escape(answer.image)
    if answer.error:
        console.print(f"[bold]{image}[/]\n  not read: {escape(answer.error)}", highlight=False)
        return
    if answer.landmark_id is None:
        line = f"no known landmark: {escape(answer.reason)}"
    else:
        label = str(answer.landmark_id)
        name = escape(answer.name) if answer.name and answer.name != label else "landmark"
        line = f"[green]{name}[/] ({label}), confidence {answer.confidence:.3f}"
    console.print(f"[bold]{image}[/]\n  {line}", highlight=False)
    table = Table("neighbour", "landmark", "similarity", "inliers", box=None, padding=(0, 2))
    for match in answer.neighbors:
        inliers = "-" if match.inliers is None else str(match.inliers)
        table.add_row(
            escape(match.image_id), escape(match.name), f"{match.similarity:.3f}", inliers
        )
    console.print(table)
