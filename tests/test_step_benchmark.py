"""The step benchmark at a tiny shape: both sides run, agree, and give the numbers that are reported."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "step"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch):
    """The benchmark's own modules, which import one another by name, and are forgotten afterwards."""
    names = ("bench", "floor", "pairs", "shapes")
    monkeypatch.syspath_prepend(str(FOLDER))
    yield {name: __import__(name) for name in names}
    for name in names:
        del sys.modules[name]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rmu", "srmu"])
def test_both_sides_agree_and_report_what_make_bench_prints(method: str, modules, tmp_path: Path) -> None:
    shape = modules["shapes"].Shape(
        layers=6, layer=3, hidden=64, intermediate=96, heads=4, kv_heads=2, vocabulary=256, max_length=24
    )
    result = modules["bench"].measure(shape, method, tmp_path, 2, "cpu", with_floor=True)
    assert result["pairs"] == 2
    assert result["losses"][0] > 0
    for name in ("step_ratio", "memory_ratio", "floor_fraction", "plain_seconds", "engine_seconds", "whole_seconds"):
        assert result[name] > 0


def test_the_floor_counts_the_products_that_the_method_needs(modules) -> None:
    floor = modules["floor"]
    shape = vars(modules["shapes"].STANDARD)
    weights = sum(inputs * outputs for inputs, outputs in floor.layer_matrices(shape))
    down = 512 * 1408
    operations = sum(count * product.operations for product, count in floor.products(shape).items())
    # Eight layers frozen; two replayed, and the first trained one's last matrix; inputs of two; three gradients.
    assert operations == 2 * 2048 * (8 * weights + 2 * weights + down + 2 * weights + 3 * down)


def test_losses_that_differ_stop_the_benchmark(modules) -> None:
    check, tolerance = modules["pairs"]._check_losses, modules["pairs"].LOSS_TOLERANCE
    answers = {"plain": {"losses": [1.0, 0.0]}, "engine": {"losses": [1.0005, 1e-15]}}
    check(answers, 1, tolerance["float32"])
    answers["engine"]["losses"] = [1.005, 1e-4]
    with pytest.raises(SystemExit, match=r"forget losses of step 1 differ: plain 1.0, engine 1.005"):
        check(answers, 1, tolerance["float32"])
    check(answers, 1, tolerance["bfloat16"])
    answers["engine"]["losses"][1] = 2e-3
    with pytest.raises(SystemExit, match="retain losses of step 1 differ"):
        check(answers, 1, tolerance["bfloat16"])
