"""The report as files and as printed: escaped, in one piece, the same each time."""

import io
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from embed.errors import InputError
from pipelines.commands.data_report import report
from pipelines.datasets.dataset import Dataset
from pipelines.datasets.facts.before import Before
from pipelines.datasets.facts.image_sizes import Measured
from pipelines.reports.data_report import DataReport, Machine, make_report, to_json
from pipelines.reports.data_report_figure import draw_report
from pipelines.reports.data_report_page import FIGURE, PAGE, open_folder, save_report
from pipelines.reports.data_report_sections import make_sections
from pipelines.reports.data_report_tables import print_sections
from tests.conftest import Tiny
from tests.datasets import make_dataset, make_job, write_table

ATTACK = "<script>alert('x')</script>"


def run(*arguments: object) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(report)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def planned(
    finished: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DataReport, Measured]:
    job = make_job(finished.data, tmp_path_factory.mktemp("runs") / "run", finished.recipe)
    made = make_report(job.dataset, None, replace(job, recipe_name="tiny"))
    assert not job.run.exists()
    return made


def printed(made: DataReport, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    print_sections(make_sections(made), console)
    return console.export_text()


def test_names_are_escaped(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "<b>data</b>", landmarks=2)
    write_table(data / "labels.csv", "landmark_id,name", [f"0,{ATTACK}", "1,[bold]tower[/]"])
    write_table(data / "solution.csv", "id,landmarks,Usage", ["q0,0,Public"])
    made, measured = make_report(Dataset(data))
    page = save_report(made, measured, make_sections(made), tmp_path).read_text()
    assert ATTACK not in page and "&lt;script&gt;alert" in page
    assert "<b>data" not in page
    assert ATTACK in printed(made)
    assert "[bold]tower[/]" in printed(made)


def test_the_page_needs_nothing_else(planned: tuple[DataReport, Measured], tmp_path: Path) -> None:
    page = save_report(*planned, make_sections(planned[0]), tmp_path).read_text()
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", page) == []
    assert "http:" not in page and "https:" not in page and "<script" not in page
    assert str(tmp_path) not in page
    assert "What a run will take" in page and "recipe tiny" in page
    with Image.open(tmp_path / FIGURE) as figure:
        assert figure.size == (1200, 960)


def test_equal_reports_are_equal_files(finished: Tiny, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        made, measured = make_report(Dataset(finished.data))
        (tmp_path / name).mkdir()
        save_report(made, measured, make_sections(made), tmp_path / name)
        files.append([(tmp_path / name / file).read_bytes() for file in (PAGE, FIGURE)])
    assert files[0] == files[1]


def test_the_terminal_shows_all_in_a_hundred_columns(
    planned: tuple[DataReport, Measured],
) -> None:
    lines = printed(planned[0]).splitlines()
    assert max(map(len, lines)) <= 100
    titles = [line for line in lines if line and line[0] != " "]
    assert titles == ["Landmarks", "Test", "Images", "What a run will take"]
    stages = [line.split()[0] for line in lines if re.match(r"  [a-z]+ .* - .* [GM]B", line)]
    assert stages == ["train", "embed", "features", "index", "decision", "submit"]
    notes = " ".join(printed(planned[0]).split())
    assert re.search(r"on samples of 12, 12 and \d\d images", notes)
    assert "to the 38 images of the run" in notes


def test_what_does_not_fit_is_said(planned: tuple[DataReport, Measured], tmp_path: Path) -> None:
    made, measured = planned
    assert made.plan is not None
    slow = [replace(stage, seconds=1e6) for stage in made.plan.stages]
    little = Machine(cores=1, memory=10**6, disk_free=1000, load=9.0)
    made = replace(made, plan=replace(made.plan, stages=tuple(slow)), machine=little)
    page = save_report(made, measured, make_sections(made), tmp_path).read_text()
    for text in (" ".join(printed(made).split()), page):
        assert "on disk, 1 kB are free" in text
        assert "of memory, the machine has 1 MB" in text
        assert "train takes 12 days" in text and "fewer train.epochs" in text
        assert "9 processes ran or waited for its cores" in text


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["thing0-0,0", "thing0-1,0"], "training needs two landmarks"),
        (["gone,0", "lost,0", "away,1", "off,1"], "could be read"),
    ],
)
def test_a_dataset_that_cannot_be_trained_on_has_facts_and_no_plan(
    finished: Tiny, tmp_path: Path, rows: list[str], reason: str
) -> None:
    (tmp_path / "images").symlink_to(finished.data / "images")
    write_table(tmp_path / "train.csv", "id,landmark_id", rows)
    job = make_job(tmp_path, tmp_path / "run", finished.recipe)
    made, measured = make_report(job.dataset, None, job)
    assert made.plan is None
    assert reason in " ".join(printed(made).split())
    assert reason in save_report(made, measured, make_sections(made), tmp_path).read_text()


@pytest.mark.parametrize(
    "sizes",
    [
        [(640, 480)],
        [(15, 10), (9000, 12)],
        [(100, 100)] * 50 + [(4000, 3000)],
        [],
    ],
)
def test_images_of_any_size_can_be_drawn(
    finished: Tiny, tmp_path: Path, sizes: list[tuple[int, int]]
) -> None:
    facts = make_report(Dataset(finished.data))[0].facts
    count = len(sizes)
    table = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    ids, reasons = pa.array([""] * count, pa.string()), pa.array([""] * count, pa.string())
    measured = Measured(ids, table, 1000 * table[:, 0], reasons, count)
    draw_report(facts, measured, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_the_command_writes_beside_the_data(fresh: Tiny) -> None:
    done = run(fresh.data, "--no-plan")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (fresh.data / "report").iterdir()) == [PAGE, FIGURE]
    assert "Landmarks" in done.stdout and "What a run" not in done.stdout
    assert f"wrote {fresh.data / 'report' / PAGE}" in done.stderr


def test_the_command_prints_json(fresh: Tiny, tmp_path: Path) -> None:
    done = run(fresh.data, "--no-plan", "--json", "--out", tmp_path / "out")
    values = json.loads(done.stdout)
    assert values["facts"]["sizes"]["train"]["classes"] == 6
    assert values["plan"] is None
    assert (tmp_path / "out" / PAGE).is_file()


def test_json_has_the_stages(planned: tuple[DataReport, Measured]) -> None:
    made = planned[0]
    assert made.plan is not None
    values = json.loads(json.dumps(to_json(made)))
    for stage, plain in zip(made.plan.stages, values["plan"]["stages"], strict=True):
        assert plain == asdict(stage)


def test_a_folder_that_cannot_be_written_to_asks_for_another(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="name a folder that can be written to: --out"):
        open_folder(tmp_path / "file" / "report")


def test_the_command_refuses_weights_that_are_not_there(fresh: Tiny, tmp_path: Path) -> None:
    done = run(fresh.data, "--weights", tmp_path / "none.safetensors")
    assert isinstance(done.exception, FileNotFoundError)
    assert not (fresh.data / "report").exists()


def test_a_folder_of_any_name_is_compared_with(finished: Tiny, tmp_path: Path) -> None:
    made, measured = make_report(Dataset(finished.data))
    for name in ("naïve 照片", "$\\frac{1$", "a\udce9\x00"):
        before = Before(name, made.facts.sizes["train"], ())
        draw_report(replace(made.facts, before=before), measured, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").is_file()
