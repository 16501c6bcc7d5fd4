"""Every recipe is a whole, sourced file, and asks the hub for what is there, in the schema of the data set cards."""

import re
from fnmatch import fnmatch
from pathlib import Path

import datasets
import pytest

from srmu.config.settings import UnlearnConfig, load_yaml, make_config
from srmu.errors import InputError
from srmu.job.plan import make_plan

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
TEXT = ("text",)
QUESTION = ("question", "answer")
# (data set, configuration): its splits, and its fields, as the cards on the hub list them.
CARDS = {
    ("cais/wmdp-bio-forget-corpus", None): (["train"], TEXT),
    ("cais/wmdp-corpora", "bio-retain-corpus"): (["train"], TEXT),
    ("cais/wmdp-corpora", "cyber-forget-corpus"): (["train"], TEXT),
    ("cais/wmdp-corpora", "cyber-retain-corpus"): (["train"], TEXT),
    ("Salesforce/wikitext", "wikitext-2-raw-v1"): (["train", "validation", "test"], TEXT),
    **{("locuslab/TOFU", name): (["train"], QUESTION) for name in ("forget01", "forget05", "forget10")},
    **{("locuslab/TOFU", name): (["train"], QUESTION) for name in ("retain99", "retain95", "retain90")},
    ("muse-bench/MUSE-News", "raw"): (["forget", "retain1", "retain2", "holdout"], TEXT),
    ("muse-bench/MUSE-Books", "raw"): (["forget", "retain1", "retain2", "holdout"], TEXT),
}
BIO = ("cais/wmdp-bio-forget-corpus", None, "train[:2000]")
CYBER = ("cais/wmdp-corpora", "cyber-forget-corpus", "train")
WIKITEXT = ("Salesforce/wikitext", "wikitext-2-raw-v1", "test")
# What a recipe of that name must ask for, in this order.
ASKED = {
    "wmdp-*-low-*": [BIO, WIKITEXT, CYBER, WIKITEXT],
    "wmdp-*-high-*": [
        BIO,
        ("cais/wmdp-corpora", "bio-retain-corpus", "train[:2000]"),
        CYBER,
        ("cais/wmdp-corpora", "cyber-retain-corpus", "train"),
    ],
    "tofu-forget01-*": [("locuslab/TOFU", "forget01", "train"), ("locuslab/TOFU", "retain99", "train")],
    "tofu-forget05-*": [("locuslab/TOFU", "forget05", "train"), ("locuslab/TOFU", "retain95", "train")],
    "tofu-forget10-*": [("locuslab/TOFU", "forget10", "train"), ("locuslab/TOFU", "retain90", "train")],
    "muse-news-*": [("muse-bench/MUSE-News", "raw", "forget"), ("muse-bench/MUSE-News", "raw", "retain1")],
    "muse-books-*": [("muse-bench/MUSE-Books", "raw", "forget"), ("muse-bench/MUSE-Books", "raw", "retain1")],
}


def recipe(path: Path) -> UnlearnConfig:
    return make_config({}, file_settings=load_yaml(path))


@pytest.fixture
def hub(monkeypatch):
    """Small data sets of the true schema; the list notes what was asked for."""
    asked = []

    def load_dataset(name, config=None, *, split):
        splits, fields = CARDS[name, config]
        assert split.partition("[")[0] in splits, f"{name} has no split {split}"
        asked.append((name, config, split))
        # Tables of the wikitext kind hold empty lines too; the place of a text stands in it.
        rows = [
            {field: f"the {field} {number} of {name}, {config}, {split}" for field in fields} for number in range(12)
        ]
        rows += [dict.fromkeys(fields, "")] if fields == TEXT else []
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def plan_of(config, saved_family):
    """The plan of a recipe with a tiny model in place of its own."""
    return make_plan(config.replace(model=str(saved_family("llama")), layer="auto", trained_layers=()))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_reads_the_data_that_it_should(path, hub, saved_family):
    plan = plan_of(recipe(path), saved_family)
    assert hub == next(asked for pattern, asked in ASKED.items() if fnmatch(path.stem, pattern))
    for topic in plan.topics:
        assert len(topic.forget.documents) == len(topic.retain[0].documents) == 12
        assert not topic.written
    first = plan.topics[0].forget.documents[0].text
    if path.stem.startswith("tofu"):
        place = ", ".join(map(str, hub[0]))
        assert first == f"Question: the question 0 of {place}\nAnswer: the answer 0 of {place}"
    else:
        assert first == f"the text 0 of {', '.join(map(str, hub[0]))}"


def test_all_that_was_promised_is_there():
    names = {path.stem for path in RECIPES}
    methods = ("rmu", "adaptive-rmu", "srmu", "default")
    assert names >= {f"wmdp-zephyr-{side}-{method}" for side in ("low", "high") for method in methods}
    assert names >= {f"tofu-forget{share}-default" for share in ("01", "05", "10")}
    assert names >= {"muse-news-default", "muse-books-default"}
    models = {recipe(path).model.model for path in RECIPES}
    assert models >= {
        "HuggingFaceH4/zephyr-7b-beta",
        "01-ai/Yi-34B-Chat",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "meta-llama/Meta-Llama-3-8B",
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_the_method_of_its_name(path):
    config = recipe(path)
    preset = next(name for name in ("adaptive-rmu", "srmu", "rmu", "default") if path.stem.endswith(name))
    assert config.preset == {"srmu": "paper"}.get(preset, preset)
    assert ("-high-" in path.stem) == ("bio-retain-corpus" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_number_of_a_recipe_has_its_source_beside_it(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key in {"model", "forget", "retain", "text_field"} or line.startswith(("#", " ")):
            continue
        if re.search(r"\d", value.partition("#")[0]):
            assert len(value.partition("#")[2]) > 4, line


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_stands_in_the_guide(path):
    assert f"{path.name}" in (ROOT / "docs" / "how-to" / "recipes.md").read_text(encoding="utf-8")


def test_the_guide_names_no_recipe_that_is_not_there():
    for name in ("how-to/recipes.md", "background/papers.md"):
        named = re.findall(r"((?:wmdp|tofu|muse)-[\w-]+\.yaml)", (ROOT / "docs" / name).read_text(encoding="utf-8"))
        assert named
        assert set(named) <= {path.name for path in RECIPES}


def test_where_the_forget_texts_are_gated_the_run_says_where_to_agree(monkeypatch, saved_family):
    def gated(name, *_, **__):
        raise datasets.exceptions.DatasetNotFoundError(
            f"Dataset '{name}' is a gated dataset on the Hub. Visit its page."
        )

    monkeypatch.setattr(datasets, "load_dataset", gated)
    with pytest.raises(InputError) as caught:
        plan_of(recipe(ROOT / "recipes" / "wmdp-zephyr-low-rmu.yaml"), saved_family)
    assert "https://huggingface.co/datasets/cais/wmdp-bio-forget-corpus" in str(caught.value)
    assert "HF_TOKEN" in str(caught.value)
