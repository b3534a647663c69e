"""Extractors by name: what the recipe says reaches them, and networks load only when asked for."""

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from pipelines.answers.extractors import EXTRACTORS, build_extractor, find_fingerprint
from rerank.delf.hub import HubDelf
from rerank.delf.hub_model import import_tensorflow
from rerank.settings import RerankSettings
from rerank.sift import SiftExtractor
from tests.conftest import Tiny
from tests.datasets import cairn, make_recipe_file

ROOT = Path(__file__).resolve().parents[1]
NOWHERE = Path("nowhere")


def settings(**values: Any) -> RerankSettings:
    return RerankSettings.model_validate(values)


def test_every_method_of_a_recipe_has_an_extractor() -> None:
    methods = get_args(RerankSettings.model_fields["method"].annotation)
    assert set(methods) == {*EXTRACTORS, "none"}


def test_sift_is_what_the_recipe_says() -> None:
    found = build_extractor(NOWHERE, settings(max_side=200, max_features=50))
    assert found == SiftExtractor(max_side=200, max_features=50)


def test_delf_of_the_hub_is_what_the_recipe_says(tmp_path: Path) -> None:
    chosen = settings(method="delf-hub", max_side=200, max_features=50)
    assert build_extractor(NOWHERE, chosen) == HubDelf(max_side=200, max_features=50)
    (tmp_path / "saved_model.pb").write_bytes(b"a graph")
    chosen = settings(method="delf-hub", hub_model=str(tmp_path))
    assert getattr(build_extractor(NOWHERE, chosen), "handle", "") == str(tmp_path)


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_folder_without_a_model_is_named(folder: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((FileNotFoundError, ValueError), match=str(tmp_path / folder)):
        build_extractor(NOWHERE, settings(method="delf-hub", hub_model=str(tmp_path / folder)))


def test_delf_of_a_run_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `cairn train --run"):
        build_extractor(tmp_path, settings(method="delf"))


def test_fingerprints_follow_the_settings_that_matter() -> None:
    first = find_fingerprint(NOWHERE, settings())
    assert first == build_extractor(NOWHERE, settings()).fingerprint
    assert find_fingerprint(NOWHERE, settings(max_side=200)) != first
    assert find_fingerprint(NOWHERE, settings(max_features=50)) != first
    assert find_fingerprint(NOWHERE, settings(candidates=7, max_ratio=0.9)) == first


def test_sift_needs_no_network() -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from pipelines.answers.extractors import find_fingerprint;"
        "from rerank.settings import RerankSettings;"
        "find_fingerprint(Path('x'), RerankSettings());"
        "print([m for m in ('torch', 'timm', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_model_of_the_hub_is_asked_for_before_anything_is_trained(
    fresh: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: str) -> str:
        raise OSError("no network")

    _, hub = import_tensorflow()
    monkeypatch.setattr(hub, "resolve", refuse)
    make_recipe_file(fresh.recipe, '[rerank]\nmethod = "delf-hub"\n')
    end = cairn("submit", *fresh.options)
    assert end.status == 1
    assert end.err.startswith(
        "error: https://tfhub.dev/google/delf/1 cannot be fetched (no network)"
    )
    assert "name its folder: rerank.hub_model" in end.err
    assert not (fresh.run / "model").exists()
