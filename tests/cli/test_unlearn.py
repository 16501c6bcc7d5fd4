import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from rich.console import Console

from checkpoint_files import all_bytes
from families import read_stored_tensors, save_family
from main_job import FORGET, call, files_with, flags, read_metrics, write_texts
from srmu.cli.app import main
from srmu.cli.console import TerminalReporter, table
from tiny_tokenizers import TOKENIZERS, make_tokenizer

CASES: dict[str, dict[str, Any]] = {
    "llama_tied": {},
    "mixtral": {"dtype": "bfloat16", "sharded": True},
    "gpt2": {"key_style": "gpt2_bare"},
    "gemma3_nested": {"key_style": "gemma3_old"},
}


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and one cache for all."""
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session", params=list(CASES))
def family_run(
    request: pytest.FixtureRequest,
    saved_family: Callable[..., Path],
    texts: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path, Path]:
    """Family, base and run of `srmu unlearn MODEL --forget FILE`, the model writing the retain texts."""
    base, out = saved_family(request.param, **CASES[request.param]), tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRMU_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        assert main(["unlearn", str(base), "--forget", str(texts / "forget.txt"), "--out", str(out), *flags()]) == 0
    return request.param, base, out


@pytest.fixture(scope="session")
def base(saved_family: Callable[..., Path]) -> Path:
    return saved_family("llama", tokenizer="chat")


def test_only_the_named_tensors_change_and_every_other_file_is_the_base_s(family_run):
    family, base, out = family_run
    before, after = read_stored_tensors(base), read_stored_tensors(out / "model")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    manifest = json.loads((out / "manifest.json").read_text())
    assert changed == {change["name"] for change in manifest["changed"]}
    # Mixtral has four experts per layer; of Gemma 3, which normalises what an MLP adds, all layers up to the tapped one
    # are trained.
    assert len(changed) == {"mixtral": 3 * 4, "gemma3_nested": 4}.get(family, 3)
    assert all(any(part in name for part in ("down_proj", "c_proj", "w2")) for name in changed)
    assert all(after[name].isfinite().all() and after[name].dtype == before[name].dtype for name in changed)
    old, new = all_bytes(base), all_bytes(out / "model")
    assert old.keys() | {"README.md"} == new.keys()
    shards = {change["shard"] for change in manifest["changed"]}
    assert all(new[name] == content for name, content in old.items() if name not in shards | {"README.md"})


def test_the_forget_loss_falls_by_half(family_run):
    losses = [record["forget_loss"] for record in read_metrics(family_run[2])]
    assert min(losses[-3:]) < 0.5 * losses[0]


def test_the_result_loads_with_plain_transformers_and_generates(family_run):
    _, _, out = family_run
    model = transformers.AutoModelForCausalLM.from_pretrained(out / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    inputs = tokenizer(FORGET[0], return_tensors="pt", return_token_type_ids=False)
    written = model.generate(**inputs, max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert written.shape[1] > inputs["input_ids"].shape[1]


def test_a_finished_run_holds_no_forget_text_and_nothing_half_made(family_run):
    _, _, out = family_run
    assert files_with(out, FORGET) == []
    assert sorted(path.name for path in out.iterdir()) == [
        "SHA256SUMS",
        "delta.safetensors",
        "importance.safetensors",
        "manifest.json",
        "metrics.jsonl",
        "model",
        "results.json",
    ]


def test_the_run_s_own_verification_passes(family_run, capsys):
    code, out, _ = call(capsys, "verify", str(family_run[2]), "--json")
    assert code == 0
    assert [check["name"] for check in json.loads(out) if check["status"] != "pass"] == ["signature"]


def test_a_run_with_retain_file_self_and_questions_prints_tables_that_fit(base, texts, capsys):
    code, out, err = call(
        capsys, "unlearn", str(base), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
        "--retain", "self", "--questions", f"forget={texts / 'questions.jsonl'}", *flags(steps=4, out="run"),
    )  # fmt: skip
    assert code == 0
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert [(record["role"], record["source"]) for record in manifest["data"]] == [
        ("forget", "forget.txt"),
        ("retain", "retain.jsonl"),
        ("retain", "self"),
    ]
    tables = out[out.index("Loss on held-out texts") : out.index("before:")].splitlines()
    assert [line.split()[0] for line in tables if line.startswith(("forget", "retain"))] == [
        "forget",
        "retain",
        "forget",
    ]
    paths = ("checkpoint:", "Check it with:")
    assert max(len(line) for line in (out + err).splitlines() if not line.startswith(paths)) <= 80
    assert "checkpoint: run/model" in out
    results = json.loads(Path("run/results.json").read_text())
    assert results["questions"]["forget"]["base"]["n"] == 4
    assert results["texts"]["forget"]["moved"] > 0
    # A run keeps its questions, and no other text.
    assert files_with(Path("run"), FORGET) == []


def test_the_last_line_names_what_was_lost_outside_the_request(base, texts, capsys):
    code, out, err = call(
        capsys, "unlearn", str(base), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
        "--require", "collateral>=0.98*base", *flags(steps=6, out="run", audit=True, learning_rate=0.3),
    )  # fmt: skip
    assert code == 1
    assert err.splitlines()[-1].startswith("Lost outside the request: ")
    assert "What helps: give retain texts about " in err.splitlines()[-1]
    assert "Audit of what nobody asked about" in out
    assert "answers to forget prompts" in out
    assert "Lost outside the request" in Path("run/model/README.md").read_text()


def test_a_run_without_evaluation_writes_no_results_and_json_alone_goes_to_stdout(base, texts, capsys):
    code, out, _ = call(
        capsys, "unlearn", str(base), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
        "--no-eval", "--json", *flags(steps=2),
    )  # fmt: skip
    assert code == 0
    printed = json.loads(out)
    run = Path(printed["run_dir"])
    assert run.parent == Path("runs")
    assert run.name.startswith(f"{base.name}-srmu-")
    assert printed["model_dir"] == str(run / "model")
    assert not (run / "results.json").exists()


def test_a_yaml_file_holds_several_topics_and_chats_and_flags_win_over_it(base, texts, workplace, capsys):
    chats = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "to the north ."}]}
             for text in FORGET[:8]]  # fmt: skip
    Path("chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    Path("run.yaml").write_text(
        f"model: {base}\nsteps: 50\nlearning-rate: 2e-2\nforget_batch_size: 4\nretain_batch_size: 4\nmax_length: 32\n"
        "topics:\n"
        f"  - name: files\n    forget: {texts / 'forget.txt'}\n    retain: {texts / 'retain.jsonl'}\n"
        "    steering_coefficient: 2\n"
        f"  - name: chats\n    forget: chats.jsonl\n    retain: {texts / 'retain.jsonl'}\n"
    )
    code, out, err = call(capsys, "unlearn", "run.yaml", "--steps", "6", "--out", "run", "--json")
    assert (code, err.count("error")) == (0, 0)
    assert set(json.loads(out)["texts"]) == {"files.forget", "files.retain", "chats.forget", "chats.retain"}
    assert [record["topic"] for record in read_metrics(Path("run"))] == ["files", "chats"] * 3
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["config"]["steps"] == 6
    assert {record["topic"] for record in manifest["data"]} == {"files", "chats"}


def test_a_dry_run_writes_nothing(base, texts, workplace, capsys):
    code, out, err = call(
        capsys, "unlearn", str(base), "--forget", str(texts / "forget.txt"), "--dry-run", *flags(out="run")
    )
    assert (code, err) == (0, "")
    assert "nothing is written" in out
    assert "1: mlp.down_proj.weight" in out
    assert "16 to forget, 300 + self to retain" in out
    assert list(workplace.iterdir()) == []


def test_an_output_directory_is_replaced_only_when_asked(base, texts, capsys):
    command = ["unlearn", str(base), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
               "--no-eval", *flags(steps=2, out="run")]  # fmt: skip
    assert call(capsys, *command)[0] == 0
    before = all_bytes(Path("run"))
    code, _, err = call(capsys, *command)
    assert code == 2
    assert "not empty" in err
    assert all_bytes(Path("run")) == before
    assert call(capsys, *command, "--overwrite", "--seed", "1")[0] == 0
    assert json.loads(Path("run/manifest.json").read_text())["config"]["seed"] == 1


def test_a_loss_that_is_not_finite_ends_with_exit_code_3_the_step_and_the_metrics(base, texts, capsys):
    code, _, err = call(
        capsys, "unlearn", str(base), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
        "--no-eval", "--save-every", "1", *flags(steps=12, learning_rate=1e30, out="run"),
    )  # fmt: skip
    assert code == 3
    assert "error: The loss became" in err.splitlines()[-1]
    assert "at step 2;" in err.splitlines()[-1]
    assert [path.name for path in Path("run").iterdir()] == ["metrics.jsonl"]
    assert read_metrics(Path("run"))[1]["forget_loss"] is None


@pytest.mark.parametrize("learning_rate", [0.0, 1e-9])
def test_a_run_that_changes_nothing_is_an_error_and_leaves_no_checkpoint(saved_family, texts, capsys, learning_rate):
    base = saved_family("llama_tied", dtype="bfloat16")
    code, _, err = call(
        capsys, "unlearn", str(base), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
        "--no-eval", *flags(steps=2, learning_rate=learning_rate, out="run"),
    )  # fmt: skip
    assert code == 3
    assert "No tensor differs from the base" in err.splitlines()[-1]
    assert [path.name for path in Path("run").iterdir()] == ["metrics.jsonl"]


# Bad input: what is asked, made by a function of the base, the texts and an empty folder, and what the sentence names.


def _copy(base: Path, folder: Path) -> Path:
    return Path(shutil.copytree(base, folder / "copy"))


def _edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def _texts(folder: Path, content: str, name: str = "mine.jsonl") -> list[str]:
    (folder / name).write_text(content)
    return ["--forget", str(folder / name)]


def _sharded(folder: Path) -> tuple[Path, Path]:
    path = save_family("llama", folder / "sharded", sharded=True)
    return path, sorted(path.glob("*.safetensors"))[1]


def _missing_shard(base: Path, texts: Path, folder: Path) -> list[str]:
    path, shard = _sharded(folder)
    shard.unlink()
    return [str(path)]


def _truncated_file(base: Path, texts: Path, folder: Path) -> list[str]:
    path, shard = _sharded(folder)
    shard.write_bytes(shard.read_bytes()[:-5])
    return [str(path)]


def _pickled(base: Path, texts: Path, folder: Path) -> list[str]:
    copy = _copy(base, folder)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    return [str(copy)]


def _adapter(base: Path, texts: Path, folder: Path) -> list[str]:
    copy = _copy(base, folder)
    (copy / "adapter_config.json").write_text("{}")
    return [str(copy)]


def _quantised(base: Path, texts: Path, folder: Path) -> list[str]:
    copy = _copy(base, folder)
    _edit_json(copy / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    return [str(copy)]


def _unknown_model_type(base: Path, texts: Path, folder: Path) -> list[str]:
    copy = _copy(base, folder)
    _edit_json(copy / "config.json", model_type="llamma")
    return [str(copy)]


def _foreign_tokenizer(base: Path, texts: Path, folder: Path) -> list[str]:
    copy = _copy(base, folder)
    tokenizer = make_tokenizer(**TOKENIZERS["words"])
    tokenizer.add_tokens([f"extra{number}" for number in range(40)])
    tokenizer.save_pretrained(copy)
    return [str(copy)]


def _full_directory(base: Path, texts: Path, folder: Path) -> list[str]:
    (folder / "run").mkdir()
    (folder / "run" / "mine.txt").write_text("kept")
    return ["--out", str(folder / "run")]


def _wrong_yaml(base: Path, texts: Path, folder: Path) -> list[str]:
    (folder / "run.yaml").write_text(f"model: {base}\nlerning_rate: 1\nstepps: 3\nretain_wieght: 2\n")
    return [str(folder / "run.yaml")]


def _both_wrong(base: Path, texts: Path, folder: Path) -> list[str]:
    (folder / "run.yaml").write_text(f"model: {base}\nstepps: 3\n")
    return [str(folder / "run.yaml"), "--layer", "minus one", "--method", "srm"]


def _out_under_a_file(base: Path, texts: Path, folder: Path) -> list[str]:
    (folder / "file").write_text("")
    return ["--out", str(folder / "file" / "run")]


BAD: dict[str, tuple[Callable[[Path, Path, Path], list[str]], tuple[str, ...]]] = {
    "missing corpus": (lambda b, t, f: ["--forget", str(f / "no.txt")], ("no.txt", "do not exist")),
    "missing folder with a space": (lambda b, t, f: ["--forget", "my notes"], ("my notes", "do not exist")),
    "missing retain corpus": (lambda b, t, f: ["--retain", str(f / "no.txt")], ("Retain texts", "do not exist")),
    "empty corpus": (lambda b, t, f: _texts(f, "\n\n", "mine.txt"), ("mine.txt", "no text")),
    "malformed line": (lambda b, t, f: _texts(f, '{"text": "a"}\n{"text": \n'), ("mine.jsonl", "line 2", "not JSON")),
    "missing field": (lambda b, t, f: _texts(f, '{"texxt": "a"}\n'), ("line 1", "'text' is missing", "'texxt'")),
    "self as forget": (lambda b, t, f: ["--forget", "self"], ("--forget self is not possible",)),
    "unknown model type": (_unknown_model_type, ("'llamma'",)),
    "unknown matrix": (
        lambda b, t, f: ["--target-modules", "mlp.down_prj"],
        ("'mlp.down_prj'", "Did you mean 'mlp.down_proj.weight'?"),
    ),
    "unknown role": (lambda b, t, f: ["--target-roles", "mlp_dwn"], ("'mlp_dwn'", "Did you mean 'mlp_down'?")),
    "layer out of range": (lambda b, t, f: ["--layer", "5"], ("layer=5", "5 decoder layers", "Choose 0 to 4")),
    "trained layer above": (lambda b, t, f: ["--layer", "2", "--trained-layers", "1,4"], ("trained_layers=4",)),
    "output not empty": (_full_directory, ("run' is not empty", "--overwrite")),
    "output no run": (lambda b, t, f: [*_full_directory(b, t, f), "--overwrite"], ("other than a run",)),
    "output under a file": (_out_under_a_file, ("cannot be made", "is a file")),
    "output in the base": (lambda b, t, f: ["--out", str(b / "run")], ("lies inside the checkpoint",)),
    "missing shard": (_missing_shard, ("lacks", ".safetensors")),
    "truncated file": (_truncated_file, (".safetensors", "ownload")),
    "pickled weights": (_pickled, ("pickled weights", "srmu convert")),
    "adapter": (_adapter, ("PEFT adapter", "merge_and_unload")),
    "quantised": (_quantised, ("already quantised", "srmu convert")),
    "foreign tokenizer": (_foreign_tokenizer, ("tokenizer does not fit", "95")),
    "three wrong keys": (
        _wrong_yaml,
        ("3 problems", "'lerning_rate'", "'learning_rate'", "'stepps'", "'steps'", "'retain_wieght'", "'retain_wei"),
    ),
    "file and flags wrong": (_both_wrong, ("3 problems", "'stepps'", "'minus one'", "'srm'", "'srmu'")),
    "missing yaml": (lambda b, t, f: ["no.yaml"], ("'no.yaml' does not exist",)),
    "unknown flag": (lambda b, t, f: ["--forgte", "x"], ("--forgte", "--forget")),
    "no such model": (lambda b, t, f: ["./no-model"], ("'./no-model' does not exist",)),
    "hub id offline": (lambda b, t, f: ["org/no-model"], ("'org/no-model'", "hub")),
    "revision of a directory": (lambda b, t, f: ["--revision", "main"], ("revision='main'",)),
    "question file missing": (lambda b, t, f: ["--questions", "a=no.jsonl"], ("'no.jsonl' does not exist",)),
    "question without a name": (lambda b, t, f: ["--questions", "q.jsonl"], ("NAME=PATH",)),
    "unknown device": (lambda b, t, f: ["--device", "quantum"], ("device='quantum'",)),
    "nothing to forget": (lambda b, t, f: ["no forget"], ("Texts to forget were not given",)),
    "no model": (lambda b, t, f: ["no model"], ("A model was not given",)),
    "resume of nothing": (lambda b, t, f: ["--resume", str(f)], ("takes no other settings",)),
}  # fmt: skip


def _arguments(parts: list[str], base: Path, texts: Path) -> list[str]:
    """The command with the base and the forget file, where the case does not give others."""
    if parts == ["no model"]:
        return ["unlearn", "--forget", str(texts / "forget.txt")]
    if parts == ["no forget"]:
        return ["unlearn", str(base)]
    model = [] if parts and not parts[0].startswith("-") else [str(base)]
    forget = [] if "--forget" in parts else ["--forget", str(texts / "forget.txt")]
    return ["unlearn", *model, *parts, *forget]


def assert_refused(capsys, arguments: list[str], folder: Path, names: tuple[str, ...]) -> None:
    """Exit code 2, one sentence that names these things, and not a byte written below the folder."""
    before = all_bytes(folder)
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith((".\n", "?\n", ")\n"))
    assert "Traceback" not in err
    for name in names:
        assert name in err
    assert all_bytes(folder) == before


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input_is_one_sentence_and_exit_code_2_and_nothing_is_written(case, base, texts, workplace, capsys):
    make, names = BAD[case]
    inputs = workplace / "inputs"
    inputs.mkdir()
    assert_refused(capsys, _arguments(make(base, texts, inputs), base, texts), workplace, names)
    assert not (base / "run").exists()


def test_chats_for_a_tokenizer_without_template_are_refused(saved_family, texts, workplace, capsys):
    arguments = ["unlearn", str(saved_family("llama_tied")), "--forget", str(texts / "forget.txt"), "--chat"]
    assert_refused(capsys, arguments, workplace, ("chat template",))


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_disk_that_is_too_small_is_found_before_anything_is_computed(
    base, texts, workplace, capsys, monkeypatch, dry_run
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 5000, 5000))
    arguments = ["unlearn", str(base), "--forget", str(texts / "forget.txt"), *dry_run]
    assert_refused(capsys, arguments, workplace, ("0.00 GB free", "needs 0.02 GB"))


def test_a_run_is_never_replaced_while_its_model_is_the_base(base, texts, workplace, capsys):
    write = ["unlearn", str(base), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
             "--no-eval", *flags(steps=2, out="run")]  # fmt: skip
    assert call(capsys, *write)[0] == 0
    again = ["unlearn", "run/model", "--forget", str(texts / "forget.txt"), "--out", "run", "--overwrite"]
    assert_refused(capsys, again, workplace, ("cannot be replaced", "run/model"))


def test_resume_names_what_is_missing(workplace, capsys):
    assert_refused(capsys, ["unlearn", "--resume", "nothing"], workplace, ("no run to resume", "--save-every"))


def test_tables_and_bars_fit_80_columns_and_lose_no_name():
    console = Console(width=80, record=True)
    row = ["a-topic-with-a-long-name.forget", "1,234,567", "12.345", "23.456", "+11.111 ±11.111", "100.0 %", "12.345"]
    header = ["", "tokens", "before", "after", "change", "top changed", "moved at l"]
    console.print(table("Loss", header, [row]))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(line.split()[0] for line in lines[-2:]) == row[0]
    assert all(cell in "\n".join(lines) for cell in row[1:])


def test_the_progress_bar_fits_80_columns_with_its_detail(monkeypatch):
    from srmu.cli import console as terminal

    console = Console(width=80, record=True)
    monkeypatch.setattr(terminal, "notes", console)
    reporter = TerminalReporter()
    with reporter.task("Base model writes texts") as progress:
        progress(1000, 1000)
        reporter.detail("forget 1.23e+03, retain 0.0586")
        reporter.note("a note")
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "1000/1000" in text
    assert "forget 1.23e+03, retain 0.0586" in text
