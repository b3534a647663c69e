"""A download from tables to a dataset folder, against a local server with the faults of real ones.

The benchmark does the same with more images and more kills: tests/benchmarks/bench_download.py.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from embed.decode import decode_image
from embed.errors import InputError
from pipelines.commands.urls import urls
from pipelines.datasets.dataset import Dataset
from pipelines.sources.download.dataset import download_dataset
from pipelines.sources.download.outcome import DownloadResult
from pipelines.sources.download.settings import DownloadSettings
from tests.benchmarks.bench_download import (
    PROGRAM,
    ROOT,
    count_images,
    measure_faults,
    measure_kills,
    snapshot,
    wait_for_images,
    write_table,
)
from tests.image_server import HOST, ImageServer, serve_images

SETTINGS = DownloadSettings(
    allow_private=True, silence_timeout=0.5, grace=1.0, min_rate=1000, base_delay=0.05, max_tries=3
)


@pytest.fixture(scope="module")
def running() -> Iterator[ImageServer]:
    with serve_images() as server:
        yield server


@pytest.fixture
def server(running: ImageServer) -> ImageServer:
    running.counts(forget=True)
    return running


def make_table(folder: Path, *rows: str, name: str = "train", header: str = "") -> Path:
    path = folder / f"{name}.csv"
    path.write_text("\n".join([header or "id,url,landmark_id", *rows]) + "\n")
    return path


def download(table: Path, folder: Path, **options: Any) -> DownloadResult:
    settings = SETTINGS.model_copy(update=options.pop("update", {}))
    return download_dataset(table, folder, settings=settings, **options)


def read_failures(folder: Path) -> dict[str, tuple[str, str, int]]:
    table = pd.read_parquet(folder / "failures.parquet")
    assert list(table) == ["split", "id", "url", "status", "reason", "message", "tries"]
    keys = zip(table["split"], table["id"], strict=True)
    values = zip(table["reason"], table["message"], table["tries"], strict=True)
    return {f"{split}/{key}": value for (split, key), value in zip(keys, values, strict=True)}


def requests(server: ImageServer) -> dict[str, int]:
    counted: dict[str, int] = server.counts()["requests"]
    return counted


def test_tables_become_a_dataset_with_the_images_that_are_there(
    server: ImageServer, tmp_path: Path
) -> None:
    train = make_table(
        tmp_path,
        f"t1,{server.url('ok', 1)},7",
        f"t2,{server.url('missing', 2)},7",
        f"t3,{server.url('ok', 3)},None",
        "t4,None,8",
        f"5,{server.url('png', 5)},8",
    )
    index = make_table(
        tmp_path, f"t1,{server.url('ok', 1)},7", f"i1,{server.url('ok', 6)},9", name="index"
    )
    test = make_table(
        tmp_path,
        f"q2,{server.url('page', 7)}",
        f"q1,{server.url('ok', 8)}",
        "q3,",
        name="test",
        header="id,url",
    )
    pool = make_table(
        tmp_path, f"n1,{server.url('gone')}", f"n2,{server.url('ok')}", name="n", header="id,url"
    )
    done = download(train, tmp_path / "data", test=test, index=index, non_landmark=pool)
    assert (done.requested, done.stored, done.failed) == (12, 6, 6)
    dataset = Dataset(tmp_path / "data")
    dataset.check()
    assert dataset.load_split("train").ids == ("t1", "5")
    assert dataset.load_split("train").landmark_ids.tolist() == [7, 8]
    assert dataset.load_split("index").ids == ("t1", "i1")
    assert dataset.load_split("test").ids == ("q2", "q1", "q3")  # each needs an answer
    assert dataset.load_split("non_landmark").ids == ("n2",)
    for image_id in ("t1", "5", "i1", "q1", "n2"):
        found = dataset.locate(image_id)
        assert decode_image(found).pixels.shape == (64, 96, 3)
    reasons = {key: reason for key, (reason, _, _) in read_failures(tmp_path / "data").items()}
    assert list(reasons.items()) == [  # in the order of the tables
        ("train/t2", "http_404"),
        ("train/t3", "no_landmark"),
        ("train/t4", "no_url"),
        ("test/q2", "not_an_image"),
        ("test/q3", "no_url"),
        ("non_landmark/n1", "http_410"),
    ]
    record = json.loads((tmp_path / "data" / "download.json").read_text())
    assert record["requested"] == record["stored"] + record["failed"] == 12
    assert record["rows"] == {"train": 2, "index": 2, "test": 3, "non_landmark": 1}
    assert requests(server)["/ok/1"] == 1
    assert not (tmp_path / "data" / "images" / ".downloading").exists()


def test_every_kind_of_fault_is_accounted_for_and_no_image_is_lost(tmp_path: Path) -> None:
    found = measure_faults(tmp_path, 300)
    assert (found.lost, found.unexplained) == (0, 0)
    assert found.extra_requests <= 1


def test_a_download_killed_at_random_moments_ends_in_the_same_files(tmp_path: Path) -> None:
    found = measure_kills(tmp_path, 400, 3)
    assert found.kills == 3
    assert found.same
    # Those that were under way at the kills, and first tries of those that were put off.
    assert found.requests <= 3 * 16 * 2


def test_what_is_there_is_not_asked_for_again(server: ImageServer, tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "t.csv",
        [server.url(kind, number) for number in range(4) for kind in ("ok", "missing", "cut")],
    )
    first = download(table, tmp_path / "data")
    before = requests(server), snapshot(tmp_path / "data")
    assert download(table, tmp_path / "data") == first
    assert (requests(server), snapshot(tmp_path / "data")) == before
    stored = next((tmp_path / "data" / "images").rglob("*.jpg"))
    stored.write_bytes(b"")  # after a loss of power
    assert download(table, tmp_path / "data") == first
    assert sum(requests(server).values()) == sum(before[0].values()) + 1


def test_failures_are_asked_for_again_when_told_or_mended(
    server: ImageServer, tmp_path: Path
) -> None:
    ok, bad = f"a,{server.url('ok', 1)},1", f"b,{server.url('broken', 2)},1"
    table = make_table(tmp_path, ok, bad)
    download(table, tmp_path / "data")
    download(table, tmp_path / "data")
    assert requests(server)["/broken/2"] == 3
    download(table, tmp_path / "data", retry_failures=True)
    assert requests(server)["/broken/2"] == 6
    assert read_failures(tmp_path / "data")["train/b"][2] == 3
    mended = make_table(tmp_path, ok, f"b,{server.url('ok', 2)},1")
    assert download(mended, tmp_path / "data").failed == 0
    assert requests(server)["/ok/1"] == 1


def test_a_table_that_grew_adds_its_images(server: ImageServer, tmp_path: Path) -> None:
    rows = [f"a{number},{server.url('ok', number)},1" for number in range(4)]
    download(make_table(tmp_path, *rows[:2]), tmp_path / "data")
    assert download(make_table(tmp_path, *rows), tmp_path / "data").stored == 4
    assert set(requests(server).values()) == {1}
    download(make_table(tmp_path, *rows[1:3]), tmp_path / "data")
    assert Dataset(tmp_path / "data").load_split("train").ids == ("a1", "a2")


def test_images_are_stored_at_the_size_asked_for(server: ImageServer, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", [server.url("ok", 1), server.url("webp", 2)])
    download(table, tmp_path / "data", update={"size": "32-crop"})
    for path in (tmp_path / "data" / "images").rglob("*.jpg"):
        assert decode_image(path).pixels.shape == (32, 32, 3)
    with pytest.raises(ValueError, match="made with urls: --size 32-crop; name another"):
        download(table, tmp_path / "data", update={"size": "128"})


def test_own_tables_are_not_written_over(server: ImageServer, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", [server.url("ok")])
    with pytest.raises(InputError, match="your own tables"):
        download(table, tmp_path)
    assert requests(server) == {}


def test_private_addresses_are_refused_without_the_option(
    server: ImageServer, tmp_path: Path
) -> None:
    rows = [f"a{number},{server.url('ok', number)},1" for number in range(5)]
    table = make_table(tmp_path, *rows, "b,file:///etc/hostname,1")
    with pytest.raises(ValueError, match=r"got no training image: 0 of 6 .* 5 forbidden_address"):
        download(table, tmp_path / "data", update={"allow_private": False})
    failures = read_failures(tmp_path / "data")
    assert failures["train/a0"] == (
        "forbidden_address",
        f"{HOST} is not a public address (--allow-private)",
        1,
    )
    assert failures["train/b"][0] == "bad_url"
    assert requests(server) == {}
    assert not list((tmp_path / "data").glob("train.*"))


def test_a_host_that_says_slow_down_is_not_asked_meanwhile(
    server: ImageServer, tmp_path: Path
) -> None:
    addresses = [server.url("limited-once" if n < 2 else "ok", n) for n in range(40)]
    table = write_table(tmp_path / "t.csv", addresses)
    done = download(table, tmp_path / "data", update={"per_host": 2})
    assert (done.stored, requests(server)["/limited-once/0"]) == (40, 2)
    counts = server.counts()
    assert counts["peak"] <= 2
    assert counts["early"] <= 2  # those that were under way


def test_a_dead_host_holds_up_nobody_and_is_asked_again_by_the_next_run(
    server: ImageServer, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # and nobody listens
        dead = f"http://{HOST}:{taken.getsockname()[1]}/x.jpg"
        rows = [f"d{number},{dead},1" for number in range(60)]
        rows += [f"o{number},{server.url('ok', number)},1" for number in range(20)]
        table = make_table(tmp_path, *rows)
        done = download(table, tmp_path / "data", update={"host_failures": 4})
        assert done.stored == 20
        assert done.reasons["host_given_up"] > 50
        message = read_failures(tmp_path / "data")["train/d0"][1]
        assert "ClientConnectorError" in message
    again = make_table(tmp_path, *(row.replace(dead, server.url("ok", 50)) for row in rows))
    assert download(again, tmp_path / "data").stored == 80


def start_command(table: Path, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(table), "--data", str(folder), "--allow-private"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ctrl_c_ends_in_order_and_a_second_process_is_kept_out(
    server: ImageServer, tmp_path: Path
) -> None:
    kinds = ["ok"] * 74 + ["slow-headers"] * 6
    addresses = [server.url(kind, number) for number, kind in enumerate(kinds)]
    table = write_table(tmp_path / "t.csv", addresses)
    process = start_command(table, tmp_path / "data")
    wait_for_images(process, tmp_path / "data", 20)
    with pytest.raises(InputError, match="another process downloads into"):
        download(table, tmp_path / "data", update={"size": "original"})
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode != 0
    # What had not answered was not waited for: else it had a reason there, and a table its rows.
    assert not (tmp_path / "data" / "failures.parquet").exists()
    assert not (tmp_path / "data" / "train.csv").exists()
    assert count_images(tmp_path / "data") >= 20


def test_tables_that_cannot_be_written_leave_the_old_ones(
    server: ImageServer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    download(write_table(tmp_path / "t.csv", [server.url("ok", 1)]), data)
    before = (data / "train.csv").read_bytes()
    table = write_table(tmp_path / "t.csv", [server.url("ok", number) for number in (1, 2)])
    full = OSError(28, os.strerror(28))
    with (
        mock.patch("pipelines.sources.download.outcome.write_rows", side_effect=full),
        pytest.raises(OSError, match="No space left"),
    ):
        download(table, data)
    assert (data / "train.csv").read_bytes() == before
    download(table, data)
    assert len(Dataset(data).load_split("train").ids) == 2


def test_a_full_disk_ends_the_download_and_not_the_images(
    server: ImageServer, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "t.csv", [server.url("ok", number) for number in range(20)])
    full = OSError(28, os.strerror(28))
    with (
        mock.patch("pipelines.sources.download.store.os.replace", side_effect=full),
        pytest.raises(OSError, match="No space left"),
    ):
        download(table, tmp_path / "data")
    assert not (tmp_path / "data" / "failures.parquet").exists()
    assert download(table, tmp_path / "data").stored == 20


def test_the_command_says_what_came_of_it(server: ImageServer, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(urls)
    table = write_table(tmp_path / "t.csv", [server.url("ok", 1), server.url("missing", 2)])
    options = ["--data", str(tmp_path / "data"), "--size", "64-fit", "--allow-private"]
    result = CliRunner().invoke(app, [str(table), *options, "--user-agent", "test"])
    assert result.exit_code == 0, result.output
    assert "1 of 2 images stored; 1 failed: 1 http_404" in result.output
    settings = json.loads((tmp_path / "data" / "download.json").read_text())["settings"]
    assert (settings["size"], settings["user_agent"]) == ("64-fit", "test")
