"""Print the sections of a report to a terminal."""

from collections.abc import Iterable, Iterator

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table

from .data_report_sections import Grid, Section
from .tables import escape

INDENT, BETWEEN = 2, 5  # columns before a table, and between two side by side
MOST_WIDTH = 110  # columns, where there is no terminal


def print_sections(sections: Iterable[Section], console: Console) -> None:
    """Print the sections; tables stand side by side where the console is wide enough."""
    for number, section in enumerate(sections):
        if number:
            console.print()
        console.print(f"[bold]{escape(section.title)}[/]", highlight=False)
        for below, row in enumerate(_pack([_make_table(grid) for grid in section.grids], console)):
            if below:
                console.print()
            beside = Table.grid(padding=(0, BETWEEN, 0, 0))
            beside.add_row(*row)
            _print_indented(beside, console)
        if section.grids and section.notes:
            console.print()
        for note in section.notes:
            _print_indented(escape(note), console)
        for problem, remedy in section.warnings:
            console.print()
            _print_indented(f"[yellow]{escape(problem)}[/]\n→ {escape(remedy)}", console)


def _pack(tables: Iterable[Table], console: Console) -> Iterator[list[Table]]:
    """Yield as many of the tables at a time as stand side by side."""
    row: list[Table] = []
    used = INDENT
    for table in tables:
        width = console.measure(table).maximum + BETWEEN
        if row and used + width > min(console.width, MOST_WIDTH):
            yield row
            row, used = [], INDENT
        row.append(table)
        used += width
    if row:
        yield row


def _print_indented(shown: RenderableType, console: Console) -> None:
    console.print(Padding(shown, (0, 0, 0, INDENT), expand=False), highlight=False)


def _make_table(grid: Grid) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, column in enumerate(grid.columns):
        table.add_column(escape(column), justify="left" if place in grid.text else "right")
    for place, row in enumerate(grid.rows):
        table.add_row(*map(escape, row), style="bold" if place in grid.strong else "")
    if grid.caption:
        table.title, table.title_justify, table.title_style = grid.caption, "left", "dim"
    return table
