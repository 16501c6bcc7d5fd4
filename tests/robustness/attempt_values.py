"""Attempts by values: flags, names, the environment, outputs, and what a checkpoint says of itself."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

from robustness.attempt_places import training
from robustness.attempt_records import HOSTILE, copy_of
from robustness.attempts import Attempt, SoundRun, attempts

NUMBERS = ["-1", "0", "1e999", "nan", "many", str(10**30), "", "1.5", "٣x", " "]
NAMES = ["x" * 300, "y/" * 3000, "a\0b", "a\udc80b", "~nobody/x", ""]


@attempts(share=4)
def flag_without_sense(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """Numbers out of range, names unknown, pairs without a name, for every command."""
    model, run, questions = str(sound.single), str(sound.run), sound.texts / "questions.jsonl"
    number, word = source.choice(["-1", "many", "1e999", "", str(-(10**30))]), source.choice(HOSTILE[:18])
    commands = [
        ["ask", model, "--prompt", "a", "--max-new-tokens", number], ["ask", model],
        ["evaluate", model, "--limit", number],
        ["evaluate", model, "--questions", word], ["evaluate", model, "--questions", f"={questions}", "--sides", "a=b"],
        ["attack", run, "--only", "none such"], ["attack", run, "--learning-rates", word + "x"], ["attack", model],
        ["attack", run, "--seed", "0", "--seed", "0"], ["attack", run, "--sides", "forget=here"],
        ["export", run, "--as", word, "--out", "x"], ["export", run, "--as", "lora", "--out", "x", "--rank", number],
        ["tune", *training(sound)[1:], "--trials", number], ["tune", *training(sound)[1:], "--sampler", "none"],
        ["tune", *training(sound)[1:], "--keys", "colour"], ["compare", run, "--format", word], ["gate", run],
        ["gate", run, "--require",
        source.choice(["forget", "<=0.3", "forget<=x", "forget==1", " " * 120_000, "\x1b<=1"])],
        ["overlap", "--forget", str(sound.texts / "forget.txt"), "--retain", "none.txt"], ["doctor", "no/such/model"],
        ["benchmark", "tofu", model, "--data", "nowhere"],
        ["benchmark", "tofu", model, "--data", ".", "--split", "all"],
        ["demo", "--methods", "none such"], ["demo", "none such"], ["verify", "nowhere"], ["none such"], ["verify"],
        ["verify", run, "--none-such"], ["unlearn"], ["evaluate", model], ["report"], ["compare", run, model],
        training(sound, "--device", word or "x"),
    ]  # fmt: skip
    return Attempt(source.choice(commands), (1, 2))


@attempts(share=3)
def setting_without_sense(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    flags = [
        "steps", "layer", "learning-rate", "retain-weight", "max-length", "seed", "eval-fraction",
        "save-every",
        "steering-coefficient", "forget-batch-size", "retain-batch-size", "num-self-written", "weight-averaging",
    ]  # fmt: skip
    value = source.choice(["-1", "many", "1e999", "nan", str(-(10**15))])
    return Attempt(training(sound, f"--{source.choice(flags)}", value, "--out", "out"), (2,))


@attempts(share=3)
def name_that_no_file_may_have(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    name, model = source.choice(NAMES), str(sound.single)
    commands = [
        ["unlearn", name, "--forget", "a.txt"], training(sound, "--forget", name),
        training(sound, "--questions", f"a={name}"),
        training(sound, "--retain", name), ["unlearn", "--resume", name], ["evaluate", name], ["verify", name],
        ["gate", name],
        ["evaluate", model, "--questions", f"a={name}"], ["evaluate", model, "--texts", f"a={name}"], ["report", name],
        ["evaluate", model, "--completions", f"a={name}"], ["ask", model, "--prompts", name],
        ["compare", name, name + "2"],
        ["apply", name, "--base", model, "--out", "x"], ["apply", str(sound.run), "--base", name, "--out", "x"],
        ["overlap", "--forget", name, "--retain", name], ["doctor", model, "--forget", name],
        ["doctor", name or "x/y/z"],
        ["benchmark", "tofu", model, "--data", name], ["attack", name], ["export", name, "--as", "delta", "--out", "x"],
        ["verify", str(sound.run), "--base", name], ["verify", str(sound.run), "--allowed-signers", name],
        ["report", str(sound.run), "--answers", name], ["tune", name, "--forget", "a.txt"],
        ["demo", "--model", name or "x/y/z"],
    ]  # fmt: skip
    return Attempt(source.choice(commands), (1, 2))


@attempts(share=2)
def output_place_that_no_file_may_have(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    name, run, model = source.choice(["x" * 300, "y/" * 3000 + "z", "a\0b"]), str(sound.run), str(sound.single)
    commands = [
        training(sound, "--out", name), ["report", run, "--out", name], ["compare", run, "--plot", name + ".svg"],
        ["gate", run, "--require", "forget<=1", "--junit", name], ["apply", run, "--base", model, "--out", name],
        ["export", run, "--as", "delta", "--out", name], ["demo", "--model", model, "--out", name],
        ["export", run, "--as", "lora", "--rank", "4", "--out", name],
    ]  # fmt: skip
    return Attempt(source.choice(commands), (2,), ("y",))


@attempts(share=2)
def environment_of_another_launcher(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    environment = source.choice(
        [{"WORLD_SIZE": "4"}, {"WORLD_SIZE": "many"},
         {"WORLD_SIZE": "2", "RANK": "x", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
         {"WORLD_SIZE": "2", "RANK": "7", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
         {"WORLD_SIZE": "3", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}, {"WORLD_SIZE": str(10**30)}]
    )  # fmt: skip
    commands = [training(sound, "--out", "out"), ["evaluate", str(sound.run)], ["verify", str(sound.run)],
                ["ask", str(sound.single), "--prompt", "a"], ["compare", str(sound.run)]]  # fmt: skip
    return Attempt(source.choice(commands), (2,), environment=environment)


@attempts(share=3)
def output_that_cannot_take_everything(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = Path(shutil.copytree(sound.run, folder / "rün \N{CAT}"))
    output = source.choice(["ascii", "full"])
    commands = [["verify", run.name], ["compare", run.name], ["gate", run.name, "--require", "forget<=1"],
                ["gate", run.name, "--require", "forget<=1", "--json"],
                ["ask", str(sound.single), "--prompt", "\N{CAT}"],
                ["compare", run.name, "--format", "markdown"], ["overlap", "--forget", str(sound.texts / "forget.txt"),
                "--retain", str(sound.texts / "retain.jsonl")], ["unlearn", "--help"], ["--version"]]  # fmt: skip
    return Attempt(source.choice(commands), (2,) if output == "full" else (0,), output=output)


def edited(file: Path, **changes: Any) -> None:
    """A JSON object with other values."""
    record = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(record | changes))


ODD: list[Any] = [-1, 0, 10**9, 10**15, 10**30, 1e308, "many", "", None, [], {}, [3], True, "$(id)", "../../x", "a/b"]


@attempts(share=8)
def config_with_an_odd_value(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """What a checkpoint says of itself may be anything; some of it is read by nobody."""
    model = Path(shutil.copytree(sound.single, folder / "model"))
    config = json.loads((model / "config.json").read_text())
    keys = [*config, "head_dim", "rope_scaling", "layer_types", "sliding_window", "attn_implementation", "auto_map",
    "dtype",
            "_attn_implementation", "quantization_config", "num_experts", "text_config", "architectures", "rope_theta",
            "attention_dropout", "use_cache", "return_dict", "pretraining_tp", "transformers_weights",
            "id2label"]  # fmt: skip
    edited(model / "config.json", **{source.choice(keys): source.choice(ODD)})
    command = source.choice(
        [training(sound, "--out", "out", model="model"), ["ask", "model", "--prompt", "river of stone"],
         ["doctor", "model"],
         ["evaluate", "model", "--questions", f"a={sound.texts / 'questions.jsonl'}"]]
    )  # fmt: skip
    return Attempt(command, (0, 2, 3), ("out",))


@attempts(share=6)
def tokenizer_with_an_odd_value(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    model = Path(shutil.copytree(sound.single, folder / "model"))
    file = model / source.choice(["tokenizer_config.json", "tokenizer_config.json", "generation_config.json"])
    keys = {
        "tokenizer_config.json": ["model_max_length", "padding_side", "bos_token", "eos_token", "pad_token",
        "unk_token",
                                  "tokenizer_class", "auto_map", "added_tokens_decoder", "chat_template",
                                  "clean_up_tokenization_spaces", "extra_special_tokens", "add_bos_token", "backend"],
        "generation_config.json": ["eos_token_id", "pad_token_id", "bos_token_id", "max_length", "temperature", "top_k",
                                   "top_p", "num_beams", "do_sample", "cache_implementation", "max_new_tokens"],
    }  # fmt: skip
    more: list[Any] = [{"1000000000": {"content": "x"}}, {"content": 3}, {"0": "x"}, [10**9], "{% for a in b %}",
                       "{{ 1 / 0 }}", "{{ ''.__class__.__mro__ }}",
                       "{% for i in range(99999999) %}x{% endfor %}"]  # fmt: skip
    edited(file, **{source.choice(keys[file.name]): source.choice([*ODD, *more])})
    command = source.choice(
        [training(sound, "--out", "out", model="model"), ["ask", "model", "--prompt", "river"], ["doctor", "model"],
         ["ask", "model", "--prompt", "river of stone", "--chat"],
         training(sound, "--out", "out", "--chat", model="model"),
         ["evaluate", "model", "--questions", f"a={sound.texts / 'questions.jsonl'}", "--chat"]]
    )  # fmt: skip
    return Attempt(command, (0, 2, 3), ("out",))


@attempts(share=3)
def question_group_of_a_hostile_name(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """Names go into files, cards, tables and reports; the run is made, or refused with a sentence."""
    name = source.choice([text for text in HOSTILE if "\0" not in text and len(text) < 1000])
    questions = f"{name}={sound.texts / 'questions.jsonl'}"
    command = source.choice(
        [training(sound, "--out", "out", "--questions", questions, "--sides", f"{name}=kept"),
         ["evaluate", str(sound.single), "--questions", questions], ["ask", str(sound.single), "--prompt", name]]
    )  # fmt: skip
    return Attempt(command, (0, 2), ("out",))


@attempts(share=2)
def run_file_with_hostile_values(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """A run is named, moved and read back by a file of settings."""
    run = copy_of(sound, folder)
    record = json.loads((run / "manifest.json").read_text())
    key = source.choice(sorted(record["config"]))
    settings = {"model": str(sound.single), "forget": [str(sound.texts / "forget.txt")], "out": "out", "steps": 2}
    value = source.choice([*HOSTILE[:12], -1, 10**30, [], {}, [[]], {"a": {"b": 1}}, None, 1e999])
    (folder / "run.yaml").write_text(json.dumps(settings | {key: value}), encoding="utf-8", errors="surrogatepass")
    return Attempt(["unlearn", "run.yaml"], (0, 2), ("out", str(value) if isinstance(value, str) else "out", "runs"))
