import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from main_job import FORGET, RETAIN, SETTINGS, inline
from srmu.config.groups import TopicConfig
from srmu.config.settings import RETAIN_WEIGHT, RETAIN_WEIGHT_ALONE, UnlearnConfig, make_config
from srmu.errors import InputError
from srmu.job.plan import make_plan
from srmu.runtime.devices import choose_device, device_name
from srmu.runtime.precision import choose_dtype
from srmu.surgery.checkpoint import open_checkpoint
from tiny_tokenizers import make_tokenizer


@pytest.fixture(scope="session")
def base(saved_family: Any) -> Path:
    return saved_family("llama")


def config_of(base: Path, **changes: Any) -> UnlearnConfig:
    given: dict[str, Any] = {**SETTINGS, "model": str(base), "forget": inline(FORGET), "retain": inline(RETAIN)}
    return make_config({**given, **changes})


@pytest.mark.parametrize("method", ["erasure", "counterfactual"])
def test_a_near_target_taps_deeper_unless_a_layer_is_named(base, method, monkeypatch):
    # The tiny model is too shallow for the real shares to differ.
    monkeypatch.setattr("srmu.job.matrices.AUTO_DEPTH_NEAR", 0.8)
    settings = ({"layer": "auto"}, {"layer": "auto", "method": method}, {"layer": 3, "method": method})
    assert [make_plan(config_of(base, **given)).layer_id for given in settings] == [2, 4, 3]


def test_a_plan_resolves_layers_matrices_and_texts(base):
    plan = make_plan(config_of(base, layer="auto"))
    assert (plan.num_layers, plan.layer_id, plan.config.target.layer, plan.config.training.trained_layers) == (
        5,
        2,
        2,
        (0, 1, 2),
    )
    assert plan.parameter_names == dict.fromkeys((0, 1, 2), ("mlp.down_proj.weight",))
    assert plan.num_trained == 3 * 32 * 48
    assert plan.topics[0].written == ()
    assert [len(corpus.documents) for corpus in plan.topics[0].retain] == [len(RETAIN)]


def test_without_retain_texts_or_with_self_the_model_writes_them(base, tmp_path):
    assert make_plan(config_of(base, retain=())).topics[0].written == ("self",)
    both = make_plan(config_of(base, retain=("self", *inline(RETAIN)))).topics[0]
    assert both.written == ("self",)
    assert len(both.retain) == 1


def test_a_topic_has_its_own_strength_where_it_names_one(base):
    topics = (
        TopicConfig(name="a", forget=inline(FORGET[:4]), retain=inline(RETAIN[:4]), steering_coefficient=7.0),
        TopicConfig(name="b", forget=inline(FORGET[4:]), retain=inline(RETAIN[4:]), retain_weight=9.0),
    )
    plan = make_plan(config_of(base, forget=(), retain=(), topics=topics))
    assert [(topic.steering_coefficient, topic.retain_weight) for topic in plan.topics] == [(7.0, 0.5), (1.0, 9.0)]


def test_the_automatic_retain_weight_is_lower_where_no_retain_texts_are_given(base):
    given, alone = (make_plan(config_of(base, retain=retain, retain_weight="auto")) for retain in (inline(RETAIN), ()))
    assert given.config.training.retain_weight == given.topics[0].retain_weight == RETAIN_WEIGHT
    assert alone.config.training.retain_weight == alone.topics[0].retain_weight == RETAIN_WEIGHT_ALONE
    assert make_plan(config_of(base, retain=(), retain_weight=7.0)).topics[0].retain_weight == 7.0
    topics = (
        TopicConfig(name="a", forget=inline(FORGET[:4]), retain=inline(RETAIN[:4])),
        TopicConfig(name="b", forget=inline(FORGET[4:])),
    )
    plan = make_plan(config_of(base, forget=(), retain=(), topics=topics, retain_weight="auto"))
    assert [topic.retain_weight for topic in plan.topics] == [RETAIN_WEIGHT, RETAIN_WEIGHT_ALONE]


def test_held_out_rows_and_training_rows_are_the_corpus(base):
    plan = make_plan(config_of(base, eval_fraction=0.25))
    split = plan.rows(plan.topics[0].forget)
    assert (len(split.train), len(split.heldout)) == (12, 4)
    assert len(plan.rows(plan.topics[0].forget).train) == 12
    whole = make_plan(config_of(base, eval_fraction=0.0))
    assert len(whole.rows(whole.topics[0].forget).heldout) == 0


def test_a_mistyped_path_is_missing_and_never_a_text(base):
    for settings in (
        {"forget": ("the code",)},
        {"forget": (), "retain": (), "topics": ({"name": "a", "forget": "the code"},)},
    ):
        with pytest.raises(InputError, match="Forget texts 'the code' do not exist"):
            make_plan(config_of(base, **settings))


def test_texts_and_files_of_one_side_are_read_in_the_order_given(base, tmp_path):
    (tmp_path / "more.txt").write_text(FORGET[1])
    topic = make_plan(config_of(base, forget=(*inline(FORGET[:1]), str(tmp_path / "more.txt")))).topics[0]
    assert [document.text for document in topic.forget.documents] == FORGET[:2]
    assert topic.forget.source == f"texts given in the call, {tmp_path / 'more.txt'}"


def test_a_run_is_resumable_where_a_later_process_finds_everything_again(base, tmp_path):
    (tmp_path / "texts.txt").write_text("\n\n".join(FORGET))
    files = {"forget": (str(tmp_path / "texts.txt"),), "retain": ("general",)}
    assert make_plan(config_of(base, **files)).resumable
    assert not make_plan(config_of(base)).resumable
    assert make_plan(config_of(base, save_every=3)).resumable
    assert not make_plan(config_of(base, **files, save_every=3), tokenizer=make_tokenizer()).resumable


def test_the_disk_must_hold_the_run_before_anything_is_written(base, tmp_path, monkeypatch):
    needed = make_plan(config_of(base)).disk_bytes
    asked: list[Path] = []

    def usage(path: Path) -> Any:
        asked.append(path)
        return shutil._ntuple_diskusage(0, 0, needed - 1)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    out = tmp_path / "not" / "there" / "yet"
    with pytest.raises(InputError, match="GB free, and the run needs"):
        make_plan(config_of(base), out=out)
    assert asked == [tmp_path.resolve()]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_replaced_makes_no_room_since_it_stays_until_the_new_one_is_whole(base, tmp_path, monkeypatch):
    needed = make_plan(config_of(base)).disk_bytes
    (tmp_path / "old").write_bytes(b"0" * 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, needed - 1000))
    with pytest.raises(InputError, match="GB free"):
        make_plan(config_of(base, overwrite=True), out=tmp_path)


def test_states_need_room_too(base):
    plain, saving = (make_plan(config_of(base, save_every=every)) for every in (0, 10))
    assert saving.disk_bytes - plain.disk_bytes == 2 * 12 * plain.num_trained


def test_output_and_base_must_lie_apart(base, tmp_path):
    for out in (base, base / "runs" / "x"):
        with pytest.raises(InputError, match="lies inside the checkpoint"):
            make_plan(config_of(base), out=out)
    with pytest.raises(InputError, match="holds the checkpoint"):
        make_plan(config_of(base), out=base.parent)
    (tmp_path / "link").symlink_to(base)
    with pytest.raises(InputError, match="lies inside"):
        make_plan(config_of(base), out=tmp_path / "link" / "run")


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu") == torch.device("cpu")
    for name in ("quantum", "mps" if not torch.backends.mps.is_available() else "xpu"):
        with pytest.raises(InputError, match="this machine cannot use it"):
            choose_device(name)


def test_a_device_is_called_by_its_name(monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"Example {device.index}")
    assert device_name(torch.device("cuda:1")) == "cuda:1 (Example 1)"
    assert device_name(torch.device("cpu")) == "cpu"


@pytest.mark.parametrize("native", [True, False])
def test_the_compute_dtype_is_the_stored_one_where_the_device_has_its_products(base, saved_family, monkeypatch, native):
    monkeypatch.setattr("srmu.runtime.precision.cpu_multiplies_bfloat16", lambda: native)
    stored = {name: saved_family("llama_tied", dtype=name) for name in ("bfloat16", "float16", "float32")}
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for name, path in stored.items():
        checkpoint = open_checkpoint(path)
        on_cpu = torch.bfloat16 if native and name == "bfloat16" else torch.float32
        assert choose_dtype("auto", cpu, checkpoint.dtypes) == on_cpu
        assert choose_dtype("auto", cuda, checkpoint.dtypes) == getattr(torch, name)
        assert choose_dtype("float64", cuda, checkpoint.dtypes) == torch.float64
