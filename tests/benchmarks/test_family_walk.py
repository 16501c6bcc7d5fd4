"""The page of model families is what the walk finds."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = json.loads((ROOT / "docs" / "reference" / "families.json").read_text(encoding="utf-8"))
FOUND = {outcome["model_type"]: outcome for outcome in PAGE["outcomes"]}
# A shared expert beside the routed ones; layers of state-space, attention and MLP; a decoder within a larger model with
# embeddings for each layer; one whose layers compute something else within the whole model.
HANDFUL = ("deepseek_v3", "nemotron_h", "gemma4", "paligemma")
NAMED = (
    "opt", "phi", "gptj", "codegen", "mpt", "xglm", "granitemoe", "llama4_text", "lfm2", "llava", "mistral3",
    "qwen2_5_vl", "qwen3_vl", "smolvlm", "internvl", "gemma4", "deepseek_v3", "gpt_oss", "mamba", "jamba",
)  # fmt: skip


@pytest.fixture(scope="module")
def walk(benchmark_module):
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks" / "family_walk"))
        yield benchmark_module("walk")


def as_json(outcome) -> dict:
    return json.loads(json.dumps(outcome.__dict__))


@pytest.mark.parametrize("model_type", HANDFUL)
def test_a_family_of_the_page_does_what_the_page_says(walk, model_type, tmp_path):
    found = as_json(walk.try_family(model_type, tmp_path))
    assert (found["status"], found["trained"]) == (FOUND[model_type]["status"], FOUND[model_type]["trained"])


def test_the_page_has_each_model_type_once_and_a_reason_for_each_that_does_not_work(walk):
    assert len(FOUND) == len(PAGE["outcomes"])
    assert set(FOUND) <= set(walk.model_classes())
    for outcome in PAGE["outcomes"]:
        assert bool(outcome["trained"]) == (outcome["status"] == "works") != bool(outcome["reason"])


def test_what_users_named_works():
    assert [name for name in NAMED if FOUND[name]["status"] != "works"] == []


@pytest.mark.slow
def test_the_whole_walk_gives_the_page(walk, tmp_path):
    for model_type in FOUND:
        found = as_json(walk.try_family(model_type, tmp_path / model_type))
        expected = FOUND[model_type]
        assert (model_type, found["status"], found["trained"]) == (
            model_type,
            expected["status"],
            expected["trained"],
        )
