"""The precision of training: what is asked for, or what was measured once."""

import json
from pathlib import Path

import pytest
import torch

from embed import precision
from embed.backbone import BackboneSpec
from embed.model import DescriptorModel, ModelSpec, fingerprint_model
from embed.precision import cpu_has_bfloat16, measure_precisions, pick_precision
from embed.train_settings import TrainSettings

AUTO = TrainSettings(precision="auto", image_size=32)


@pytest.fixture(scope="module")
def model() -> DescriptorModel:
    torch.manual_seed(0)
    return DescriptorModel(ModelSpec(BackboneSpec("test_resnet"), image_size=32, dim=8)).eval()


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)


def fake(monkeypatch: pytest.MonkeyPatch, float32: float, bfloat16: float) -> list[int]:
    """Make the measurement return these seconds; return the list of image sizes it was given."""
    sizes: list[int] = []

    def measure(model: DescriptorModel, image_size: int) -> dict[str, float]:
        sizes.append(image_size)
        return {"float32": float32, "bfloat16": bfloat16}

    monkeypatch.setattr(precision, "measure_precisions", measure)
    return sizes


@pytest.mark.parametrize(("asked", "given"), [("float32", "32-true"), ("bfloat16", "bf16-mixed")])
def test_an_explicit_precision_is_taken_without_measuring(
    model: DescriptorModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    given: str,
) -> None:
    sizes = fake(monkeypatch, 1.0, 1.0)
    record = tmp_path / "precision.json"
    settings = AUTO.model_copy(update={"precision": asked})
    assert pick_precision(model, settings, record) == given
    assert sizes == [] and not record.exists()


@pytest.mark.parametrize(
    ("float32", "bfloat16", "given"),
    [(1.0, 0.5, "bf16-mixed"), (1.0, 0.95, "32-true"), (1.0, 3.0, "32-true")],
)
def test_auto_takes_bfloat16_where_it_is_clearly_faster(
    model: DescriptorModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    float32: float,
    bfloat16: float,
    given: str,
) -> None:
    sizes = fake(monkeypatch, float32, bfloat16)
    record = tmp_path / "precision.json"
    assert pick_precision(model, AUTO, record) == given
    assert sizes == [32]
    assert json.loads(record.read_text()) == {"float32": float32, "bfloat16": bfloat16}


def test_auto_measures_once_and_keeps_what_it_found(
    model: DescriptorModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "precision.json"
    fake(monkeypatch, 1.0, 0.5)
    first = pick_precision(model, AUTO, record)
    kept = record.read_bytes()
    sizes = fake(monkeypatch, 1.0, 2.0)
    assert pick_precision(model, AUTO, record) == first
    assert sizes == [] and record.read_bytes() == kept


@pytest.mark.parametrize("asked", ["auto", "bfloat16"])
@pytest.mark.parametrize(("supported", "given"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_is_asked_what_it_has_and_what_it_emulates_does_not_count(
    model: DescriptorModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    asked: str,
    supported: bool,
    given: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or supported,
    )
    settings = AUTO.model_copy(update={"precision": asked})
    assert pick_precision(model, settings, tmp_path / "precision.json") == given
    assert list(tmp_path.iterdir()) == []
    overruled = asked == "bfloat16" and not supported
    assert ("this GPU has no bfloat16" in caplog.text) is overruled


def test_measuring_leaves_the_model_and_the_generator_alone(model: DescriptorModel) -> None:
    before, state = fingerprint_model(model), torch.get_rng_state()
    seconds = measure_precisions(model, 32)
    assert set(seconds) == {"float32", "bfloat16"} and min(seconds.values()) > 0
    assert fingerprint_model(model) == before and not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("flags", "has"), [("fpu avx512f avx512_bf16", True), ("amx_bf16", True), ("avx512f", False)]
)
def test_the_flags_of_the_cpu_tell(flags: str, has: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    assert cpu_has_bfloat16(cpuinfo) is has
    assert not cpu_has_bfloat16(tmp_path / "missing")


@pytest.mark.parametrize("asked", ["bfloat16", "auto"])
def test_a_cpu_without_bfloat16_trains_in_float32(
    asked: str,
    model: DescriptorModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: False)
    settings = AUTO.model_copy(update={"precision": asked})
    assert pick_precision(model, settings, tmp_path / "precision.json") == "32-true"
    assert ("no bfloat16" in caplog.text) == (asked == "bfloat16")
