"""Write the card of a run as Markdown, for people. Facts in, text out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .card import Card, Network

MEANINGS = {
    "gap": "GAP: the answers of all queries, the surest first; 1 is best",
    "gap_landmark_only": "GAP of the queries that show a landmark",
    "top1": "queries with a landmark whose likeliest label is right",
    "map_at_100": "mAP@100 of the neighbours",
    "expected_calibration_error": "expected calibration error: confidence less share right",
}
USE = """\
```bash
cairn unpack FILE run
cairn query --run run photo.jpg
cairn verify run
```

Nothing in it is code: weights are safetensors, the graph is OpenVINO's XML with its numbers,
tables are Parquet, Arrow and CSV. `card.json` has the facts of this page for programs.
"""


def format_card(card: Card) -> str:
    """Return the card as Markdown."""
    sections = {
        "What it is": list(_describe(card)),
        "How well": list(_measure(card)),
        "What it cannot do": [f"- {limit}" for limit in card.limits],
        "Licences": list(_license(card)),
        "How to use it": [USE.rstrip()],
    }
    parts = [f"# {_escape(card.name)}"]
    parts += [f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items()]
    return "\n\n".join(parts) + "\n"


def _describe(card: Card) -> Iterator[str]:
    recipe = f"{card.recipe}: {card.description}" if card.description else card.recipe
    yield f"- Recipe: {_escape(recipe)}"
    for network in card.networks:
        yield f"- Network: {_name_network(network)}"
    changed = f"; {card.added} added and {card.removed} removed since it was indexed"
    yield (
        f"- Database: {card.database:,} photos of {card.landmarks:,} landmarks, {card.named:,} of "
        f"them with a name{changed * bool(card.added or card.removed)}"
    )
    yield f"- Photos without a landmark that it compares with: {card.pool:,}"
    yield f"- Local features: {card.local_features}"
    limit = "" if card.threshold is None else f", answers from confidence {card.threshold:.3f} on"
    yield f"- Decision: {card.policy}{limit}"


def _name_network(network: Network) -> str:
    trained = f"trained on {network.trained_on:,} photos" if network.trained_on else "not trained"
    return (
        f"{network.architecture} at {network.image_size} px, {trained} "
        f"(weights {network.fingerprint[:12]})"
    )


def _measure(card: Card) -> Iterator[str]:
    figures = card.figures
    if figures is None or "gap" not in figures:
        yield "No queries with a known answer came with it, so nothing was measured on any."
    else:
        yield (
            f"Of {figures['n_queries']:,} queries, {figures['n_landmark']:,} of which show a "
            "landmark. Intervals hold with 95 %.\n"
        )
        yield "| figure | value | interval |\n|---|---|---|"
        yield from _list_figures(figures)
        if card.changed:
            yield "\nThe database has changed since these were measured."
    if card.promises:
        yield "\nWhat the decision promises, by queries with a known answer:\n"
        yield from (f"- {promise}" for promise in card.promises)


def _list_figures(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield a row a figure; a figure that was not measured has none."""
    for key, meaning in MEANINGS.items():
        if figures.get(key) is not None:
            yield _row(meaning, figures[key], figures.get(f"{key}_interval"))
    for k, value in (figures.get("recall_at_k") or {}).items():
        yield _row(f"recall@{k} of the neighbours", value)
    point = figures.get("operating_point") or {}
    if point.get("precision") is not None:
        meaning = f"answers that are right, of the {point['answered']:,} given"
        yield _row(meaning, point["precision"], (point["precision_low"], None))
        yield _row("queries that get an answer", point["coverage"])
    unseen = figures.get("unseen") or {}
    if unseen.get("final") is not None:
        yield _row("GAP with landmarks that the network was not trained on", unseen["final"])


def _row(meaning: str, value: float, interval: Sequence[float | None] | None = None) -> str:
    low, high = interval or (None, None)
    shown = "" if low is None else f"from {low:.3f}"
    if low is not None and high is not None:
        shown = f"{low:.3f} to {high:.3f}"
    return f"| {meaning} | {value:.3f} | {shown} |"


def _license(card: Card) -> Iterator[str]:
    weights = {n.architecture: n.license for n in card.networks if n.license}
    for architecture, name in weights.items():
        yield f"- Weights that {architecture} began with: {name}"
    for name, count in card.licenses.items():
        yield f"- {_escape(name or 'no licence named')}: {count:,} photos"
    if not card.licenses:
        yield (
            "- Photos: the tables of the dataset name no licence (a column `license`); ask whoever "
            "took them before you hand them, or thumbnails of them, on."
        )


def _escape(text: str) -> str:
    """Return text of outside as one line that Markdown shows as it is."""
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|" else letter for letter in line)
