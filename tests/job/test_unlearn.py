import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from checkpoint_files import all_bytes
from families import find_family
from main_job import FORGET, RETAIN, SETTINGS, files_with, inline, read_metrics, write_texts
from srmu import UnlearnConfig, unlearn
from srmu.config.settings import make_config
from srmu.errors import InputError, RunError
from srmu.export.run_directory import RunDirectory
from srmu.job.unlearn import resume
from srmu.results.audit_records import describe_loss
from srmu.runtime.progress import Reporter
from tiny_tokenizers import TOKENIZERS, make_tokenizer

STEPS, SAVE_EVERY = 12, 4


@pytest.fixture(scope="session")
def base(saved_family: Callable[..., Path]) -> Path:
    return saved_family("llama")


def run_on(base: Path, out: Path, **changes: Any) -> Any:
    """A run whose texts are strings, without evaluation."""
    given = {**SETTINGS, "steps": STEPS, "forget": FORGET, "retain": RETAIN, "eval": False, **changes}
    return unlearn(model=base, out=str(out), **given)


@pytest.fixture(scope="session")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a map that depends on its past."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run_on(base, out, map_scope="running", save_every=SAVE_EVERY)
    return out


def test_a_model_object_forgets_strings_and_the_result_loads(tmp_path):
    model = find_family("llama").build()
    tokenizer = make_tokenizer(**TOKENIZERS["no_bos_no_pad_left"])
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    result = run_on(model, tmp_path / "run", tokenizer=tokenizer, forget=[" ".join(FORGET[:4]), *FORGET[4:]], eval=True)
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    loaded, loaded_tokenizer = result.model(), result.tokenizer()
    assert isinstance(loaded, transformers.LlamaForCausalLM)
    assert loaded_tokenizer.get_vocab() == tokenizer.get_vocab()
    changed = [name for name, parameter in loaded.named_parameters() if not torch.equal(before[name], parameter)]
    assert changed == find_family("llama").down_projection_names()
    assert set(result.report.texts) == {"forget", "retain"}
    assert len(result.answers) == 1
    assert files_with(tmp_path / "run", FORGET) == []
    hashed = [entry for entry in result.manifest.config["forget"] if entry.startswith("text:sha256:")]
    assert len(hashed) == len(result.manifest.config["forget"])


def test_a_run_that_hardly_changes_anything_loses_nothing_and_says_nothing(base, tmp_path, monkeypatch):
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path / "cache"))
    report = run_on(base, tmp_path / "run", eval=True, audit=True, learning_rate=1e-7, steps=1).report
    assert report.audit is not None
    assert report.fluency is not None
    assert report.audit.bank is not None
    assert {part.kept for part in report.audit.parts().values() if part.base} == {1.0}
    assert describe_loss(report.audit) is None
    assert report.fluency.change.difference == pytest.approx(0, abs=1e-5)
    assert report.fluency.base.n > 1
    assert len(list((tmp_path / "cache" / "audit").iterdir())) == 1


def test_answers_of_a_ruined_model_are_judged_by_the_base(base, tmp_path):
    report = run_on(base, tmp_path / "run", eval=True, learning_rate=0.5).report
    assert report.fluency is not None
    assert report.fluency.result.score < 0.9 * report.fluency.base.score
    stored = json.loads((tmp_path / "run" / "results.json").read_text())
    assert stored["fluency"]["result"]["score"] == report.fluency.result.score
    assert files_with(tmp_path / "run", FORGET) == []


def test_a_run_that_measures_without_questions_says_once_how_to_make_some(base, tmp_path, monkeypatch):
    notes: list[str] = []
    reporter = Reporter()
    monkeypatch.setattr(reporter, "note", notes.append)
    texts = write_texts(tmp_path / "texts")
    for out, settings, times in (
        ("without", {"eval": True}, 1),
        ("with", {"eval": True, "questions": {"forget": str(texts / "questions.jsonl")}}, 0),
        ("unmeasured", {"eval": False}, 0),
    ):
        notes.clear()
        run_on(base, tmp_path / out, steps=1, reporter=reporter, **settings)
        assert sum("srmu questions makes some" in note for note in notes) == times, out


def test_a_run_says_what_became_of_the_texts_that_the_base_wrote(saved_family, tmp_path, monkeypatch):
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path / "cache"))
    notes: list[str] = []
    reporter = Reporter()
    monkeypatch.setattr(reporter, "note", notes.append)
    pairs = [(name, other) for name in ("Lantern", "Violet", "Rocket") for other in ("Copper", "Harbour")]
    forget = [f"the capital of {name} is {other} ." for name, other in pairs] * 2
    model = saved_family("llama", tokenizer="bytes")
    for out in ("first", "again"):
        run_on(model, tmp_path / out, forget=forget, retain=["near"], steps=1, reporter=reporter)
    told = [note for note in notes if note.startswith("The base model wrote ")]
    assert len(told) == 2
    assert told[0] == told[1]
    assert "unlikely to the model itself" in told[0]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(base, undisturbed, tmp_path):
    same = run_on(base, tmp_path / "same", map_scope="running", save_every=SAVE_EVERY).run_dir
    other = run_on(base, tmp_path / "other", map_scope="running", seed=1).run_dir
    for name in ("delta.safetensors", "importance.safetensors", "model/model.safetensors"):
        assert (same / name).read_bytes() == (undisturbed / name).read_bytes()
        assert (other / name).read_bytes() != (undisturbed / name).read_bytes()
    assert read_metrics(same) == read_metrics(undisturbed)


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill every run when this many steps are done."""
    from srmu.solver.gradient import GradientSolver

    original = GradientSolver.step

    def killed(solver: GradientSolver) -> None:
        if solver.next_step == step:
            raise KeyboardInterrupt
        original(solver)

    monkeypatch.setattr(GradientSolver, "step", killed)


@pytest.mark.parametrize("step", [2, 4, 11])
def test_a_resumed_run_equals_the_undisturbed_one_bit_for_bit(base, undisturbed, tmp_path, monkeypatch, step):
    with monkeypatch.context() as patch:
        kill_at(step, patch)
        with pytest.raises(KeyboardInterrupt):
            run_on(base, tmp_path / "run", map_scope="running", save_every=SAVE_EVERY)
    assert not (tmp_path / "run" / "model").exists()
    result = resume(tmp_path / "run")
    assert all_bytes(result.model_dir) == all_bytes(undisturbed / "model")
    assert (result.run_dir / "delta.safetensors").read_bytes() == (undisturbed / "delta.safetensors").read_bytes()
    assert read_metrics(result.run_dir) == read_metrics(undisturbed)
    assert sorted(all_bytes(result.run_dir)) == sorted(all_bytes(undisturbed))
    assert files_with(result.run_dir, FORGET) == []
    with pytest.raises(InputError, match="is finished"):
        resume(tmp_path / "run")


def test_a_run_killed_after_its_checkpoint_was_written_resumes(base, undisturbed, tmp_path, monkeypatch):
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("srmu.job.exporting.write_records", killed)
        with pytest.raises(KeyboardInterrupt):
            run_on(base, tmp_path / "run", map_scope="running", save_every=SAVE_EVERY)
    assert (tmp_path / "run" / "model").is_dir()
    result = resume(tmp_path / "run")
    assert all_bytes(result.model_dir) == all_bytes(undisturbed / "model")


def test_texts_are_kept_only_while_a_run_can_be_resumed(base, tmp_path, monkeypatch):
    kill_at(5, monkeypatch)
    for save_every, kept in ((SAVE_EVERY, ["config.json"]), (0, [])):
        out = tmp_path / f"run{save_every}"
        with pytest.raises(KeyboardInterrupt):
            run_on(base, out, save_every=save_every)
        assert files_with(out, [*FORGET, *RETAIN]) == kept
    with pytest.raises(InputError, match="--save-every"):
        resume(tmp_path / "run0")


def test_a_failed_run_keeps_its_metrics_and_no_text_state_or_checkpoint(base, tmp_path):
    with pytest.raises(RunError, match=r"became (inf|nan) .*at step 2;"):
        run_on(base, tmp_path / "run", save_every=1, learning_rate=1e30)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]
    # What failed is a run, and may be replaced.
    assert run_on(base, tmp_path / "run", overwrite=True, steps=2).model_dir.is_dir()


def test_a_checkpoint_that_fails_its_check_never_gets_its_name(base, tmp_path, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise RunError("Tensor 'x' differs from the base though it was not to change.")

    monkeypatch.setattr("srmu.job.exporting.check_only_changed", refuse)
    with pytest.raises(RunError, match="differs from the base"):
        run_on(base, tmp_path / "run", steps=2)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]


def test_bad_input_that_shows_late_leaves_no_run_directory(base, tmp_path, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise InputError("Parameter 'x' was matched with the stored tensor 'y', but their values differ.")

    monkeypatch.setattr("srmu.job.training.check_names", refuse)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "metrics.jsonl").write_text("")
    for name, overwrite in (("run", False), ("old", True)):
        with pytest.raises(InputError, match="values differ"):
            run_on(base, tmp_path / name, overwrite=overwrite)
    assert all_bytes(tmp_path) == {"old": None, "old/metrics.jsonl": b""}


def test_the_texts_that_the_model_writes_are_kept_in_the_cache_and_used_again(base, tmp_path, monkeypatch):
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path / "cache"))
    first = run_on(base, tmp_path / "first", retain=["self"], steps=2)
    monkeypatch.setattr("srmu.job.prepare.write_self_texts", None)
    second = run_on(base, tmp_path / "second", retain=["self"], steps=2)
    assert all_bytes(first.model_dir) == all_bytes(second.model_dir)
    assert second.manifest.data[1].source == "self"
    (written,) = (tmp_path / "cache" / "self").iterdir()
    texts = [json.loads(line)["text"] for line in written.read_text().splitlines()]
    assert len(texts) == SETTINGS["num_self_written"]
    assert files_with(tmp_path / "first", [text for text in texts if len(text.split()) > 3]) == []


def test_without_retain_texts_the_shipped_paragraphs_and_the_models_own_texts_are_used(base, tmp_path):
    result = run_on(base, tmp_path / "run", retain=[], steps=2)
    assert [entry.source for entry in result.manifest.data] == ["texts given in the call", "general", "self"]
    assert result.manifest.data[1].documents == 300


def test_what_the_call_lacks_is_named():
    with pytest.raises(InputError, match="model was not given"):
        unlearn(forget=FORGET)
    with pytest.raises(InputError, match="without its tokenizer"):
        unlearn(model=find_family("llama").build(), forget=FORGET)
    with pytest.raises(InputError, match="cannot be saved as a checkpoint"):
        unlearn(model=object(), tokenizer=object(), forget=FORGET)
    with pytest.raises(InputError, match="Both a config and steps"):
        unlearn(UnlearnConfig(), steps=3)


def test_a_config_does_what_the_same_settings_do(base, undisturbed, tmp_path):
    config = make_config(
        {**SETTINGS, "steps": STEPS, "model": str(base), "forget": inline(FORGET), "retain": inline(RETAIN),
         "eval": False, "map_scope": "running", "out": str(tmp_path / "run")}
    )  # fmt: skip
    assert (
        all_bytes(unlearn(config).model_dir)["model.safetensors"]
        == (undisturbed / "model" / "model.safetensors").read_bytes()
    )
    with pytest.raises(InputError, match="not empty"):
        unlearn(config)
    assert unlearn(config.replace(overwrite=True)).run_dir == tmp_path / "run"


def test_the_metrics_of_a_run_hold_one_line_a_step(undisturbed):
    records = read_metrics(undisturbed)
    assert [record["step"] for record in records] == list(range(1, STEPS + 1))
    assert all(record["retain_loss"] >= 0 and record["gradient_norm"] > 0 for record in records)


def test_a_run_directory_is_opened_once(base, tmp_path, monkeypatch):
    opened = []
    create = RunDirectory.create
    monkeypatch.setattr(RunDirectory, "create", lambda config: opened.append(config.output.out) or create(config))
    run_on(base, tmp_path / "run", steps=2)
    assert opened == [str(tmp_path / "run")]


@pytest.mark.parametrize(("steering_coefficient", "held"), [(30.0, True), (0.01, False)])
def test_a_run_says_when_a_norm_behind_the_mlp_held_its_target(
    steering_coefficient: float, held: bool, saved_family: Callable[..., Path], tmp_path: Path
) -> None:
    notes: list[str] = []
    listener = Reporter()
    listener.note = notes.append  # type: ignore[method-assign]
    run_on(
        saved_family("gemma3"), tmp_path / "run", steps=2, steering_coefficient=steering_coefficient, reporter=listener
    )
    assert any("--target-roles mlp_down,mlp_post_norm" in note for note in notes) == held
