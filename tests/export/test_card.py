import dataclasses
from pathlib import Path

import pytest
import yaml

from measured_runs import make_audit, make_fluency, make_results
from srmu.export.card import CardFacts, CardResult, card_results, model_card, read_card
from srmu.results.manifest import DataRecord

FACTS = CardFacts(
    model="someone/base",
    hub_id=True,
    method="srmu",
    preset="default",
    layer=7,
    changed=["model.layers.7.mlp.down_proj.weight"],
    data=[DataRecord("default", "forget", "mine.txt", "ab" * 32, documents=3, rows=4, tokens=50)],
    settings={"steering_coefficient": 3.0},
    assumed={"steering_coefficient": "chosen"},
    results=[CardResult("forget", "accuracy", 40, 0.81, 0.24)],
    srmu_version="0.1.0",
)


def test_the_card_says_what_was_lost_outside_the_request() -> None:
    card = model_card(None, dataclasses.replace(FACTS, audit=make_audit()))
    assert "| shipped facts, all fields | 203 | 0.950 | 0.910 | 95.8 ± 1.2 % |" in card
    assert "| rivers and seas | 5 | 1.000 | 0.600 | 60.0 ± 24.5 % |" in card
    assert "| food |" not in card
    assert "Lost outside the request: 4.2 % of the shipped facts (most in rivers and seas)" in card
    assert "Outside the request" not in model_card(None, FACTS)


def test_the_card_says_how_fluent_answers_to_forget_prompts_are() -> None:
    found = card_results(make_results(fluency=make_fluency()))
    assert found[-1] == CardResult("answers to forget prompts", "fluency", 12, 0.82, 0.41)
    assert "| answers to forget prompts | fluency | 12 | 0.820 | 0.410 |" in model_card(None, CardFacts(results=found))


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_base_s_front_matter_and_text_are_kept() -> None:
    text = "# Base\n\ntext | with --- rules\n"
    base = f"---\nlicense: apache-2.0\nlanguage: no\ntags: [chat]\ndate: 2024-01-01\n---\n{text}"
    card = model_card(base, FACTS)
    front = front_matter(card)
    assert front["license"] == "apache-2.0"
    assert front["language"] == "no"  # Norwegian, which YAML 1.1 reads as false
    assert front["date"] == "2024-01-01"
    assert front["tags"] == ["chat", "srmu", "unlearning"]
    assert front["base_model"] == "someone/base"
    assert card.endswith(text)


def test_the_card_tells_what_was_done_and_measured() -> None:
    card = model_card(None, FACTS)
    expected = [
        "mine.txt",
        "abababababababab",
        "tapped layer (from 0): `7`",
        "| steering_coefficient | 3.0 | chosen |",
        "| forget | accuracy | 40 | 0.810 | 0.240 |",
        "srmu verify",
        "## Limits",
        "srmu 0.1.0",
    ]
    for words in expected:
        assert words in card
    (index,) = front_matter(card)["model-index"]
    assert index["results"][0]["metrics"][0]["value"] == 0.24


def test_the_base_s_scores_are_not_claimed_for_the_result() -> None:
    base = "---\nmodel-index:\n- name: base\n  results: []\n---\nx"
    assert "model-index" not in front_matter(model_card(base, CardFacts()))


def test_a_path_is_no_base_model() -> None:
    card = model_card(None, CardFacts(model="/home/somebody/base"))
    assert "base_model" not in front_matter(card)
    assert "somebody" not in card
    assert "`base`" in card


@pytest.mark.parametrize(
    "front",
    ["a: [", "- a list", "a: b: c", "x: *missing", "2024-13-45: {", "!!python/object:os.system {}", "\t:"],
)
def test_front_matter_that_cannot_be_parsed_stays_in_the_text(front: str) -> None:
    base = f"---\n{front}\n---\nthe text\n"
    card = model_card(base, FACTS)
    assert card.endswith(base)
    assert front_matter(card)["tags"] == ["srmu", "unlearning"]


@pytest.mark.parametrize(
    "base",
    ["", "---", "---\n---\n", "---\nnever closed", "no front matter\n---\n", "\ufeff---\na: 1\n---\nx"],
)
def test_odd_cards_do_not_break_ours(base: str) -> None:
    assert front_matter(model_card(base, FACTS))["tags"] == ["srmu", "unlearning"]


def test_windows_line_ends_are_understood() -> None:
    card = model_card("---\r\nlicense: mit\r\nnote: a---b\r\n---\r\ntext\r\n", CardFacts())
    assert front_matter(card)["license"] == "mit"
    assert front_matter(card)["note"] == "a---b"
    assert card.endswith("text\r\n")


def test_a_card_is_read_whatever_its_encoding(tmp_path: Path) -> None:
    assert read_card(tmp_path) is None
    (tmp_path / "README.md").write_bytes("é".encode("latin-1"))
    assert read_card(tmp_path) == "é"


def test_the_hub_s_own_library_reads_the_results() -> None:
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import eval_results_to_model_index

    from measured_runs import GROUPS, make_results

    groups = {"bio weapons, made up" if name == "entangled" else name: values for name, values in GROUPS.items()}
    results = make_results(groups)
    facts = dataclasses.replace(FACTS, results=card_results(results))
    card = ModelCard(model_card(None, facts), ignore_metadata_errors=False)
    found = {(entry.dataset_type, entry.metric_type): entry.metric_value for entry in card.data.eval_results}
    assert found["forget-questions", "accuracy"] == 0.28
    assert found["bio-weapons-made-up-questions", "accuracy"] == 0.94
    assert found["retain-texts", "perplexity"] == results.texts["retain"].result.perplexity
    index = eval_results_to_model_index(card.data.model_name, card.data.eval_results)
    assert index[0]["name"] == "base-srmu"
    assert len(index[0]["results"]) == len(found) == 5


def test_a_number_that_was_not_measured_is_not_claimed() -> None:
    from measured_runs import make_results

    results = make_results({})
    forget = results.texts["forget"]
    unknown = dataclasses.replace(forget, result=dataclasses.replace(forget.result, perplexity=None))
    results = dataclasses.replace(results, texts={**results.texts, "forget": unknown})
    assert [entry.group for entry in card_results(results)] == ["retain texts"]
