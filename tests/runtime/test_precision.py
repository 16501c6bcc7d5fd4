"""In what dtype a model computes, and that autocast is asked for where the CPU has the products for it."""

import pytest
import torch

from srmu.runtime.precision import mixed_precision


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_float32_model_multiplies_in_bfloat16_only_where_the_cpu_does_so(
    native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srmu.runtime.precision.cpu_multiplies_bfloat16", lambda: native)
    one = torch.ones(4, 4)
    with mixed_precision(torch.device("cpu")):
        assert (one @ one).dtype == expected
    assert (one @ one).dtype == torch.float32
