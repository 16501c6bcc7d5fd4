"""The configuration: presets, precedence, coercion, and errors that name everything at once."""

import re
from pathlib import Path

import pytest
import yaml

from srmu.config.groups import GROUPS, TargetConfig, TopicConfig, TrainingConfig
from srmu.config.presets import ASSUMED, PRESETS
from srmu.config.renamed import RENAMED
from srmu.config.settings import FIELDS, UnlearnConfig, load_yaml, make_config, to_dict
from srmu.errors import InputError

DOCS = Path(__file__).parents[2] / "docs"


def written(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# Errors


def test_a_file_with_three_wrong_keys_names_all_three_and_the_nearest_known_ones(tmp_path):
    path = written(tmp_path, "forgett: a.txt\nlerning_rate: 1e-4\nretain-wieght: 3\nsteps: 10\n")
    with pytest.raises(InputError) as raised:
        make_config({}, file_settings=load_yaml(path))
    message = str(raised.value)
    assert message.startswith("The configuration has 3 problems: ")
    for wrong, meant in [
        ("forgett", "forget"),
        ("lerning_rate", "learning_rate"),
        ("retain_wieght", "retain_weight"),
    ]:
        assert f"an unknown key {wrong!r}. Did you mean {meant!r}?" in message
    assert "steps" not in message


def test_unknown_keys_wrong_types_wrong_choices_and_ranges_are_counted_together():
    with pytest.raises(InputError) as raised:
        make_config(
            {"stepz": 1, "seed": "x", "method": "smru", "steering_coefficient": 0, "max_length": -1, "preset": "papr"}
        )
    message = str(raised.value)
    assert "has 6 problems: " in message
    for part in ["'stepz'", "seed='x': expected a whole number", "Did you mean 'srmu'?", "'paper'"]:
        assert part in message
    assert "steering_coefficient=0.0, which must be above 0" in message
    assert "max_length=-1, which must be above 0" in message


def test_a_single_problem_is_one_sentence():
    with pytest.raises(
        InputError, match=r"^The configuration has steering_coefficient=-1\.0, which must be above 0\.$"
    ):
        make_config({"steering_coefficient": -1})
    with pytest.raises(InputError, match=r"Did you mean 'layer'\?$"):
        make_config({"layr": 3})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": True}, "whole number"),
        ({"steps": 1.5}, "whole number"),
        ({"steps": float("inf")}, "whole number"),
        ({"steps": [3]}, "whole number"),
        ({"steering_coefficient": float("inf")}, "finite number"),
        ({"steering_coefficient": float("nan")}, "finite number"),
        ({"learning_rate": "fast"}, "a number"),
        ({"skip_sinks": "yes"}, "true or false"),
        ({"skip_sinks": 1}, "true or false"),
        ({"model": 3}, "expected text"),
        ({"layer": "middle"}, "expected a whole number or choose one of auto"),
        ({"layer": -1}, "0 or more"),
        ({"questions": "q.jsonl"}, "NAME: PATH"),
        ({"preset": ["rmu"]}, "unknown preset"),
        ({"running_decay": 1.0}, "below 1"),
        ({"forget": [1]}, "expected text"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_what_was_expected(settings, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        make_config(settings)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ({"forget": ["a.txt"]}, "'name' is missing"),
        ({"name": "bio"}, "'forget' is missing"),
        ({"name": "bio", "forget": []}, "without forget texts"),
        ({"name": "bio", "forget": "a.txt", "steering_coeficient": 2}, "Did you mean 'steering_coefficient'?"),
        ({"name": "bio", "forget": "a.txt", "steering_coefficient": 0}, "steering_coefficient=0.0 of topic 'bio'"),
        ({"name": "bio", "forget": "a.txt", "retain_weight": -1}, "retain_weight=-1.0 of topic 'bio'"),
        ("bio", "expected keys name, forget"),
    ],
)
def test_a_bad_topic_is_refused(topic, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        make_config({"topics": [topic]})


def test_topics_need_names_of_their_own_and_own_all_texts():
    bio = {"name": "bio", "forget": "a.txt"}
    with pytest.raises(InputError, match="same name"):
        make_config({"topics": [bio, bio]})
    with pytest.raises(InputError, match="both topics and forget"):
        make_config({"topics": [bio], "forget": "b.txt"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("steps: [1", "not readable YAML"), ("- steps\n", "holds list"), ("", "holds NoneType")],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected):
        load_yaml(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.yaml' does not exist"):
        load_yaml(tmp_path / "no.yaml")


# Precedence and presets


def test_flags_win_over_the_file_over_the_preset_over_the_defaults():
    defaults = UnlearnConfig()
    config = make_config({"steps": 7}, file_settings={"preset": "rmu", "steps": 8, "retain_weight": 9})
    assert config.training.steps == 7
    assert config.training.retain_weight == 9.0
    assert config.training.learning_rate == PRESETS["rmu"]["learning_rate"] != defaults.training.learning_rate
    assert config.target.running_decay == defaults.target.running_decay


def test_a_preset_flag_replaces_the_files_preset_and_keeps_its_other_keys():
    config = make_config({"preset": "paper"}, file_settings={"preset": "rmu", "steps": 8})
    assert (config.preset, config.target.method, config.training.steps) == ("paper", "srmu", 8)
    assert config.training.learning_rate == UnlearnConfig().training.learning_rate


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_config_and_sets_what_it_says(preset):
    config = make_config({"preset": preset})
    assert config.preset == preset
    for key, value in PRESETS[preset].items():
        assert config.get(key) == value


def test_no_preset_is_the_default_preset():
    assert make_config({}) == make_config({"preset": "default"}) == UnlearnConfig()


def test_the_paper_literal_preset_counts_sinks_and_uses_the_raw_coefficient():
    config = make_config({"preset": "paper-literal"})
    assert (config.target.skip_sinks, config.target.coefficient_unit, config.target.importance_map) == (
        False,
        "absolute",
        "ratio",
    )


def test_what_is_marked_as_assumed_belongs_to_a_preset_and_a_field():
    names = set(FIELDS)
    assert set(ASSUMED) <= set(PRESETS)
    for reasons in ASSUMED.values():
        assert set(reasons) <= names
        assert all(reasons.values())


# Coercion and round trips


def test_a_number_that_yaml_reads_as_text_becomes_a_number(tmp_path):
    loaded = load_yaml(written(tmp_path, "learning-rate: 5e-5\nsteps: '20'\nsteering_coefficient: 2\nlayer: '7'\n"))
    assert loaded["learning_rate"] == "5e-5"  # YAML 1.1 wants a dot; without this the test shows nothing
    config = make_config({}, file_settings=loaded)
    assert (
        config.training.learning_rate,
        config.training.steps,
        config.target.steering_coefficient,
        config.target.layer,
    ) == (5e-5, 20, 2.0, 7)
    assert type(config.target.steering_coefficient) is float


def test_one_text_is_a_list_of_one_and_paths_become_text():
    config = make_config({"forget": Path("a.txt"), "retain": ["b.txt", "self"], "trained_layers": 5})
    assert (config.data.forget, config.data.retain, config.training.trained_layers) == (
        ("a.txt",),
        ("b.txt", "self"),
        (5,),
    )


def test_a_config_survives_its_own_yaml_form(tmp_path):
    topic = {"name": "bio", "forget": ["a.txt"], "retain": "self", "steering_coefficient": 2}
    config = make_config(
        {
            "model": "m",
            "preset": "paper-literal",
            "topics": [topic],
            "questions": {"forget": "q.jsonl"},
            "layer": 4,
            "trained_layers": [2, 3],
            "learning_rate": "5e-5",
            "out": "runs/x",
        }
    )
    assert config.data.topics == (
        TopicConfig(name="bio", forget=("a.txt",), retain=("self",), steering_coefficient=2.0),
    )
    path = written(tmp_path, yaml.safe_dump(to_dict(config), sort_keys=False))
    assert make_config({}, file_settings=load_yaml(path)) == config
    assert list(to_dict(config)) == ["preset", *FIELDS]


def test_two_configs_do_not_share_a_mutable_default():
    UnlearnConfig().data.questions["forget"] = "q.jsonl"
    assert UnlearnConfig().data.questions == {}


def test_every_field_has_help_that_is_a_sentence():
    for field in FIELDS.values():
        help_text = field.metadata["help"]
        assert len(help_text) > 10, field.name
        assert help_text.endswith("."), field.name


def test_every_recipe_and_every_file_in_the_docs_is_valid(tmp_path):
    blocks = [path.read_text(encoding="utf-8") for path in sorted((DOCS.parent / "recipes").glob("*.yaml"))]
    assert len(blocks) >= 20
    blocks += [
        block
        for name in ("background/papers.md", "background/method.md", "how-to/recipes.md")
        for block in re.findall(r"```yaml\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    ]
    for block in blocks:
        config = make_config({}, file_settings=load_yaml(written(tmp_path, block)))
        assert config.model.model
        assert config.data.topics or config.data.forget


@pytest.mark.parametrize("changes", [{"misdirection": "plus"}, {"method": "rmu"}])
def test_signs_of_each_tokens_own_are_refused_where_they_would_do_nothing(changes):
    assert make_config({"preset": "robust"}).target.per_token_signs == 1.0
    with pytest.raises(InputError, match="per_token_signs"):
        make_config({"preset": "robust", **changes})


# Groups


def test_groups_have_no_setting_in_common_and_check_themselves():
    names = [name for group in GROUPS.values() for name in group.__dataclass_fields__]
    assert len(names) == len(set(names)) == len(FIELDS)
    with pytest.raises(InputError, match=r"^The configuration has steering_coefficient=0, which must be above 0\.$"):
        TargetConfig(steering_coefficient=0)
    with pytest.raises(InputError, match=r"2 problems: .*steps=-1.*seed=-2"):
        TrainingConfig(steps=-1, seed=-2)


def test_a_config_is_changed_by_the_names_of_settings_and_checked_again():
    config = make_config({"preset": "rmu"}).replace(steps=7, layer=2)
    assert (config.training.steps, config.target.layer, config.preset) == (7, 2, "rmu")
    assert config.target.steering_coefficient == PRESETS["rmu"]["steering_coefficient"]
    with pytest.raises(InputError, match="steps=0"):
        config.replace(steps=0)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_key_is_told_its_new_name(old, new):
    assert new in FIELDS
    assert old not in FIELDS
    with pytest.raises(InputError, match=rf"a key '{old}' that was renamed to '{new}'\.$"):
        make_config({old: 1})


def test_a_request_for_facts_has_a_preset_of_its_own_unless_one_is_named():
    texts = {"forget": ["text:a"], "retain": ["text:b"], "request": "facts"}
    config = make_config(texts)
    assert (config.preset, config.target.method) == ("erase", "erasure")
    assert config == make_config({**texts, "preset": "erase"})
    assert make_config({**texts, "remaining_loss": 0.5}).training.remaining_loss == 0.5
    assert make_config({**texts, "preset": "paper"}).target.method == "srmu"
    with pytest.raises(InputError, match="name texts about what else must stay of the same things as --retain"):
        make_config({"forget": ["text:a"], "request": "facts"})
    with pytest.raises(InputError, match="leave --search out"):
        make_config({**texts, "search": True})


@pytest.mark.parametrize("preset", ["paper", "paper-literal", "rmu", "adaptive-rmu"])
def test_published_methods_train_three_layers_in_every_family(preset):
    assert make_config({"preset": preset}).training.num_trained_layers == 3
    assert make_config({}).training.num_trained_layers == "auto"
