"""The audit on the demo's model: it finds what the default takes along, and nothing where nothing changed."""

from pathlib import Path

import pytest
import torch

from srmu import unlearn
from srmu.demo.model import demo_model
from srmu.demo.requests import REQUESTS
from srmu.evaluation.audit.audit import audit, prepare_audit
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.runtime.progress import Reporter

pytestmark = pytest.mark.slow
REQUEST = REQUESTS["africa"]()


@pytest.fixture(scope="module")
def base() -> Path:
    return demo_model(Reporter())


def kept_of(base: Path, retain: list[str], fields: tuple[str, ...]) -> dict[str, float]:
    """What a run of the default keeps of the named parts of the audit."""
    report = unlearn(base, forget=list(REQUEST.forget), retain=retain, eval_fraction=0).report
    assert report.audit is not None
    parts = report.audit.parts()
    return {name: parts[name].result / parts[name].base for name in fields}


def test_other_facts_about_the_forgotten_countries_are_seen_to_go(base):
    retain = [*REQUEST.retain_entangled, *REQUEST.retain_ordinary]
    kept = kept_of(base, retain, ("neighbours", "written"))
    assert kept["neighbours"] < 0.9
    assert kept["written"] > 0.95


def test_without_retain_texts_of_the_kind_its_loss_is_seen(base):
    kept = kept_of(base, list(REQUEST.retain_ordinary), ("capitals_of_europe_and_asia", "bank"))
    assert kept["capitals_of_europe_and_asia"] < 0.8
    assert kept["bank"] > kept["capitals_of_europe_and_asia"]


def test_a_model_that_did_not_change_keeps_everything(base):
    model = load_causal_lm(base, device=torch.device("cpu"), dtype=torch.bfloat16)
    tokenizer = load_tokenizer(base)
    known = prepare_audit(model, tokenizer, list(REQUEST.forget), reporter=Reporter())
    found = audit(model, tokenizer, known, reporter=Reporter())
    assert {part.name: part.result / part.base for part in found.parts().values() if part.base} == {
        part.name: 1.0 for part in found.parts().values() if part.base
    }
    assert not found.lost
    assert found.bank is not None
    assert found.bank.known > 150
