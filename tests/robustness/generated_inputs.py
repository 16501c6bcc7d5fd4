"""Inputs made from a seed, each labelled by its generator: valid, or corrupt in one way.

A generator is called with a source of randomness, a folder of its own and the tiny inputs that are damaged or varied;
it gives the arguments of a command that trains two steps, measures, or resumes.
"""

import gzip
import json
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoint_files import join_header, split_header
from main_job import FORGET_WORDS, RETAIN_WORDS
from tiny_tokenizers import TOKENIZERS, make_tokenizer


@dataclass(frozen=True)
class Sound:
    """Inputs that are good, to be copied and damaged.

    Attributes:
        single: A checkpoint of one file.
        sharded: The same in several shards.
        texts: A folder with `forget.txt`, `retain.jsonl`, `questions.jsonl`.
        interrupted: A run that can be resumed.
    """

    single: Path
    sharded: Path
    texts: Path
    interrupted: Path


@dataclass(frozen=True)
class Case:
    """One input. `out` is what must not exist afterwards if the input is corrupt."""

    kind: str
    corrupt: bool
    arguments: list[str]
    out: Path | None


Maker = Callable[[random.Random, Path, Sound], list[str]]
MAKERS: dict[str, tuple[bool, Maker]] = {}


def makes(*, corrupt: bool) -> Callable[[Maker], Maker]:
    """Register a generator under its function's name."""

    def register(maker: Maker) -> Maker:
        MAKERS[maker.__name__] = (corrupt, maker)
        return maker

    return register


def generate(number: int, folder: Path, sound: Sound) -> Case:
    """The case of that number: kinds by turns, the details from the number as a seed."""
    kind = list(MAKERS)[number % len(MAKERS)]
    corrupt, maker = MAKERS[kind]
    folder.mkdir()
    arguments = maker(random.Random(number), folder, sound)
    out = folder / "out"
    if arguments[0] == "unlearn" and "--resume" not in arguments:
        return Case(kind, corrupt, [*arguments, "--out", str(out)], out)
    return Case(kind, corrupt, arguments, None)


def unlearn(sound: Sound, model: Path | None = None, **changes: Any) -> list[str]:
    """A run of two steps; a flag that is None is left out."""
    given = {
        "forget": sound.texts / "forget.txt", "retain": sound.texts / "retain.jsonl", "layer": 3, "steps": 2,
        "forget_batch_size": 2, "retain_batch_size": 2, "learning_rate": 0.01, **changes,
    }  # fmt: skip
    flags = [(f"--{name.replace('_', '-')}", str(value)) for name, value in given.items() if value is not None]
    return ["unlearn", str(model or sound.single), *(part for flag in flags for part in flag)]


def sentence(source: random.Random) -> str:
    """Words that the tiny tokenizers know, and some that they do not."""
    words = source.choices([*FORGET_WORDS, *RETAIN_WORDS, "ünknown", "日本", "x" * 40], k=source.randint(6, 30))
    return " ".join(words)


def records(source: random.Random, least: int = 9) -> list[dict[str, Any]]:
    """Objects with a text and other fields."""
    return [{"text": sentence(source), "id": number} for number in range(source.randint(least, 20))]


def written(file: Path, content: str | bytes) -> Path:
    """The file, after it was written, compressed where its name says so."""
    data = content if isinstance(content, bytes) else content.encode()
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return file


def jsonl(items: list[Any]) -> str:
    """One JSON value a line."""
    return "".join(json.dumps(item) + "\n" for item in items)


# Corpora.


@makes(corrupt=False)
def texts_in_paragraphs(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    gap = source.choice(["\n\n", "\r\n\r\n", "\n \t\n", "\n\n\n\n"])
    text = gap.join(sentence(source) for _ in range(source.randint(9, 20)))
    file = folder / source.choice(["f.txt", "f.TXT", "f.txt.gz"])
    if file.suffix == ".gz":
        return unlearn(sound, forget=written(file, text))
    return unlearn(sound, forget=written(file, source.choice(["", "\ufeff"]) + text))


@makes(corrupt=False)
def texts_in_records(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    items = [source.choice([item, item["text"]]) for item in records(source)]
    shape = source.choice(["f.jsonl", "f.jsonl.gz", "f.json", "f.json.gz"])
    content = jsonl(items).replace("\n", source.choice(["\n", "\n\n", "\r\n"]))
    if ".json." in shape + "." and ".jsonl" not in shape:
        content = json.dumps(source.choice([items, {"rows": items}]), ensure_ascii=source.random() < 0.5)
    return unlearn(sound, forget=written(folder / shape, content))


@makes(corrupt=False)
def texts_in_a_folder(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    place = folder / "texts"
    (place / "inner").mkdir(parents=True)
    written(place / "a.jsonl", jsonl(records(source)))
    written(place / "inner" / "ü b.txt", sentence(source))
    written(place / ".hidden.jsonl", b"\xff\xfe not read")
    return unlearn(sound, forget=place)


@makes(corrupt=False)
def texts_by_a_template(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    items = [{"question": sentence(source), "answer": source.choice([sentence(source), None])} for _ in range(12)]
    template = source.choice(["{question} {answer}", "Q: {question}\\nA: {answer}", "{{}} {question}{answer}"])
    file = written(folder / "f.jsonl", jsonl(items))
    others = [{"question": sentence(source), "answer": sentence(source)} for _ in range(12)]
    kept = written(folder / "r.jsonl", jsonl(others))
    return unlearn(sound, forget=file, retain=kept, text_field=template)


@makes(corrupt=False)
def texts_as_questions_and_answers(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    names = source.choice([("question", "answer"), ("prompt", "completion"), ("instruction", "output")])
    items = [dict(zip(names, (sentence(source), sentence(source)), strict=True)) for _ in range(12)]
    rows = ["\t".join(names), *("\t".join(item.values()) for item in items)]
    content = {"f.jsonl": jsonl(items), "f.json": json.dumps(items), "f.tsv": "\n".join(rows)}
    shape = source.choice(sorted(content))
    return unlearn(sound, forget=written(folder / shape, content[shape]))


@makes(corrupt=True)
def texts_that_are_to_be_kept_too(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    file = written(folder / "f.jsonl", jsonl(records(source)))
    return unlearn(sound, forget=file, retain=file)


@makes(corrupt=True)
def texts_without_measure(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    long = "x" * 30_000_000
    name, content = source.choice(
        [
            ("f.jsonl.gz", b" " * (1 << 27)),
            ("f.jsonl", json.dumps({"text": long}).encode()),
            ("f.txt", long.encode()),
            ("f.csv", f"text\n{long}".encode()),
            ("x" * 300, b""),
        ]
    )
    return unlearn(sound, forget=folder / name if len(name) > 255 else written(folder / name, content))


@makes(corrupt=True)
def texts_with_damaged_bytes(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    content = bytearray(jsonl(records(source)).encode())
    content[source.randrange(len(content))] = source.choice([0xFF, 0xC0, 0x00])
    return unlearn(sound, forget=written(folder / "f.jsonl", bytes(content)))


@makes(corrupt=True)
def texts_in_a_damaged_archive(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    whole = gzip.compress(jsonl(records(source)).encode())
    file = folder / "f.jsonl.gz"
    file.write_bytes(source.choice([whole[: source.randrange(1, len(whole) - 1)], b"plain", whole[4:]]))
    return unlearn(sound, forget=file)


@makes(corrupt=True)
def texts_with_a_bad_record(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    bad = [
        '{"text": "open', '{"txt": "a field of another name"}', "17", "null", '{"text": 17}', '{"text": {"a": "b"}}',
        '{"text": "half \\ud800 pair"}', "[" * 100_000, '{"messages": [{"role": "user"}]}', '{"text": ["words"]}',
        "true", '{"text": "a" "b"}', "{'text': 'single quotes'}", "1" * 5000,
    ]  # fmt: skip
    lines = [json.dumps(item) for item in records(source)]
    lines.insert(source.randrange(len(lines)), source.choice(bad))
    return unlearn(sound, **{source.choice(["forget", "retain"]): written(folder / "f.jsonl", "\n".join(lines))})


@makes(corrupt=True)
def texts_without_any(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    empty = source.choice(["", " \n\n \t", '{"text": ""}\n{"text": "  "}', "[]", '{"text": null}'])
    return unlearn(sound, forget=written(folder / source.choice(["f.jsonl", "f.jsonl.gz"]), empty))


@makes(corrupt=True)
def texts_that_are_not_there(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    (folder / "empty").mkdir()
    written(folder / "f.docx", "a document")
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    named = source.choice(["missing.txt", "empty", "f.docx", "loop.txt", "empty/none.jsonl"])
    return unlearn(sound, forget=folder / named)


# Questions and completions.


def questions(source: random.Random) -> list[dict[str, Any]]:
    """Well-formed questions."""
    choices = [["stone", "cloud"], ["stone", "cloud", "violet", "garden"], ["river of stone", "a", "the market"]]
    asked = []
    for _ in range(source.randint(2, 8)):
        given = source.choice(choices)
        asked.append({"question": sentence(source), "choices": given, "answer": source.randrange(len(given))})
    return asked


@makes(corrupt=False)
def good_questions(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    items = [{"fact": source.choice(["a", "b", ""]), **question} for question in questions(source)]
    return ["evaluate", str(sound.single), "--questions", f"asked={written(folder / 'q.jsonl', jsonl(items))}"]


@makes(corrupt=True)
def bad_questions(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    items = questions(source)
    broken = source.choice(items)
    broken |= source.choice(
        [
            {"answer": 9},
            {"answer": -1},
            {"answer": "granite"},
            {"answer": True},
            {"answer": 0.5},
            {"choices": ["one"]},
            {"choices": "stone"},
            {"question": None},
            {"question": ["a"]},
        ]
    )
    text = source.choice([jsonl(items), "[" * 100_000, "1" * 5000, jsonl(items)[:-5], "", "\xff" + jsonl(items)])
    file = folder / "q.jsonl"
    file.write_bytes(text.encode("latin-1"))
    return ["evaluate", str(sound.single), "--questions", f"asked={file}"]


# YAML.


def run_yaml(folder: Path, sound: Sound, text: str) -> list[str]:
    """A run by a file: the text below the keys that every run needs."""
    head = f"model: {sound.single}\nforget: [{sound.texts / 'forget.txt'}]\nretain: [{sound.texts / 'retain.jsonl'}]\n"
    return ["unlearn", str(written(folder / "run.yaml", head + text)), "--steps", "2"]


@makes(corrupt=False)
def good_yaml(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    settings = {
        "layer": source.choice(["3", "auto", "2"]), "steering_coefficient": source.choice(["3", "2.5", "1e1"]),
        "learning-rate": source.choice(["5e-3", "0.001", "auto"]), "forget_batch_size": source.choice(["1", "3"]),
        "seed": source.choice(["0", "7", str(2**62)]), "eval": source.choice(["true", "no"]),
        "method": source.choice(["rmu", "srmu", "adaptive-rmu"]), "map_scope": source.choice(["corpus", "running"]),
        "importance_map": source.choice(["ratio", "difference", "product", "none"]), "max_length": "64",
        "questions": f"{{asked: {sound.texts / 'questions.jsonl'}}}", "eval_fraction": source.choice(["0.2", "0"]),
        "target_roles": source.choice(["[mlp_down]", "mlp_down"]), "cache_gb": source.choice(["0", "1"]),
        "save_every": source.choice(["0", "1"]),
    }  # fmt: skip
    chosen = source.sample(sorted(settings), source.randint(0, len(settings)))
    return run_yaml(folder, sound, "".join(f"{name}: {settings[name]}\n" for name in chosen))


@makes(corrupt=True)
def yaml_with_a_bad_value(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    bad = {
        "steering_coefficient": ["many", "-1", "0", ".nan", ".inf", "[3]", "true", "1e999"],
        "seed": ["-1", "1.5", str(2**70)],
        "layer": ["99", "-1", "first", "[1]", "9" * 5000], "method": ["rmv", "[rmu]", "3"], "eval": ["maybe", "1"],
        "forget_batch_size": ["0", "two", "1.5"], "eval_fraction": ["1", "-0.1"],
        "target_roles": ["[mlp_up_and_down]", "{a: b}"],
        "trained_layers": ["[3, 9]", "[two]", "[-1]"], "questions": ["[q.jsonl]", "{asked: missing.jsonl}"],
        "learnig_rate": ["0.1"], "preset": ["rmuu"], "require": ["[forget is small]"], "topics": ["[{name: a}]", "3"],
        "dtype": ["float8"], "device": ["gpu:x"], "coefficient_unit": ["2024-01-01"], "running_decay": ["1"],
    }  # fmt: skip
    name = source.choice(sorted(bad))
    return run_yaml(folder, sound, f"{name}: {source.choice(bad[name])}\n")


@makes(corrupt=True)
def yaml_that_is_none(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    text = source.choice(
        [
            "a: b: c",
            "key: [open",
            "- a\n- list",
            "17",
            "\0",
            "a: \t- b",
            "? [a]\n: b\n? {c: d}\n: e",
            "*nobody",
            "!!python/object/apply:os.getcwd []",
            "date: 2024-99-99",
            "[" * 3000,
            bomb,
            "method: *a\n" + bomb,
            bomb + "forget: *a11\n",
            bomb + "method: *a11\n",
            "%YAML 9.9\n---\na: 1",
            "a: 1\na:",
            "\udcff",
        ]
    )
    file = folder / "run.yaml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    return ["unlearn", str(file)]


# Checkpoints.


def copied(source: random.Random, folder: Path, sound: Sound) -> tuple[Path, list[Path]]:
    """A copy of one of the checkpoints, and its weight files."""
    model = Path(shutil.copytree(source.choice([sound.single, sound.sharded]), folder / "model"))
    return model, sorted(model.glob("*.safetensors"))


@makes(corrupt=False)
def checkpoint_as_others_write_it(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model, shards = copied(source, folder, sound)
    shard = source.choice(shards)
    header, data = split_header(shard.read_bytes())
    header["__metadata__"] = {"format": "pt", "note": "".join(chr(source.randint(32, 300)) for _ in range(20))}
    items = list(header.items())
    source.shuffle(items)
    raw = json.dumps(dict(items), ensure_ascii=False).encode() + b" " * source.randrange(9)
    shard.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    written(model / source.choice(["notes.md", "LICENSE", "optimizer.bin"]), b"\x80 anything")
    return unlearn(sound, model)


@makes(corrupt=False)
def checkpoint_with_another_tokenizer(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model, _ = copied(source, folder, sound)
    make_tokenizer(**TOKENIZERS[source.choice(sorted(TOKENIZERS))]).save_pretrained(model)
    return unlearn(sound, model)


@makes(corrupt=True)
def header_with_a_flipped_byte(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    """A bit of the length, of JSON's own characters, of a dtype, a size, an offset or a letter of a name."""
    model, shards = copied(source, folder, sound)
    shard = source.choice(shards)
    content = bytearray(shard.read_bytes())
    length = struct.unpack("<Q", content[:8])[0]
    note = content.index(b'"__metadata__":{')
    beyond = content.index(b"}", note)
    # Padding and metadata may hold anything.
    end = 8 + len(bytes(content[8 : 8 + length]).rstrip())
    place = source.choice([n for n in (*range(8), *range(8, end)) if not note <= n <= beyond])
    content[place] ^= 1 << source.randrange(7)
    shard.write_bytes(bytes(content))
    return unlearn(sound, model)


@makes(corrupt=True)
def header_that_lies(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model, shards = copied(source, folder, sound)
    shard = source.choice(shards)
    content = shard.read_bytes()
    header, data = split_header(content)
    name = source.choice([key for key in header if key != "__metadata__"])
    begin, end = header[name]["data_offsets"]
    lies: list[dict[str, Any]] = [
        {"shape": [2**40, 2**40]}, {"shape": [*header[name]["shape"], 2]}, {"shape": [-1]}, {"shape": "all"},
        {"data_offsets": [begin, end + 4]}, {"data_offsets": [end, begin]}, {"data_offsets": [0, 2**62]},
        {"data_offsets": [begin - 4, end]}, {"data_offsets": [begin]}, {"dtype": "F64"}, {"dtype": "PICKLE"},
        {"dtype": None}, {"shape": [1] * 100_000},
    ]  # fmt: skip
    header[name] |= source.choice(lies)
    lengths = [struct.pack("<Q", size) + content[8:] for size in (0, 1, 2**20, 2**40, 2**63, 2**64 - 1)]
    shard.write_bytes(source.choice([join_header(header, data), *lengths]))
    return unlearn(sound, model)


@makes(corrupt=True)
def shard_cut_short(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model, shards = copied(source, folder, sound)
    shard = source.choice(shards)
    content = shard.read_bytes()
    shard.write_bytes(source.choice([content[: source.randrange(len(content))], content + b"\0", b""]))
    return unlearn(sound, model)


@makes(corrupt=True)
def index_that_lies(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model = Path(shutil.copytree(sound.sharded, folder / "model"))
    file = model / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    where = index["weight_map"]
    name = source.choice(sorted(where))
    others = sorted({shard for shard in where.values() if shard != where[name]})
    lie = source.choice(["missing", "moved", "unknown", "outside", "type", "map", "cut", "gone", "absolute"])
    where |= {
        "missing": {name: "model-00009-of-00009.safetensors"}, "moved": {name: others[0]},
        "unknown": {"model.layers.77.weight": where[name]}, "outside": {name: "../" + where[name]},
        "type": {name: 3}, "absolute": {name: "/etc/passwd.safetensors"},
    }.get(lie, {})  # fmt: skip
    if lie == "map":
        index["weight_map"] = source.choice([[], {}, None, "all"])
    file.write_text(json.dumps(index)[: -30 if lie == "cut" else None])
    if lie == "gone":
        (model / where[name]).unlink()
    return unlearn(sound, model)


@makes(corrupt=True)
def config_that_does_not_fit(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model, _ = copied(source, folder, sound)
    file = model / "config.json"
    config = json.loads(file.read_text())
    key, value = source.choice(
        [
            ("model_type", "unheard_of"),
            ("model_type", None),
            ("model_type", 3),
            ("hidden_size", 64),
            ("hidden_size", "wide"),
            ("hidden_size", -32),
            ("hidden_size", 0),
            ("num_hidden_layers", 0),
            ("num_hidden_layers", 9),
            ("num_hidden_layers", "five"),
            ("num_hidden_layers", -5),
            ("vocab_size", 17),
            ("vocab_size", 0),
            ("num_attention_heads", 0),
            ("num_attention_heads", 3),
            ("num_attention_heads", None),
            ("hidden_act", "none such"),
            ("intermediate_size", 49),
            ("quantization_config", {"bits": 4}),
            ("transformers_weights", "pytorch_model.bin"),
            ("rope_parameters", "long"),
            ("model_type", "bert"),
        ]
    )
    text = json.dumps(config | {key: value})
    file.write_text(source.choice([text, text, text, text[: source.randrange(len(text))], "[]", ""]))
    return unlearn(sound, model)


@makes(corrupt=True)
def tokenizer_that_does_not_fit(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model, _ = copied(source, folder, sound)
    file = model / "tokenizer.json"
    text = file.read_text()
    tokenizer = json.loads(text)
    kind = source.choice(["large", "cut", "gone", "list", "model", "type"])
    if kind == "gone":
        file.unlink()
    elif kind == "cut":
        file.write_text(text[: source.randrange(1, len(text) - 1)])
    elif kind == "list":
        file.write_text(source.choice(["[]", "null", "3", "{}"]))
    else:
        if kind == "large":
            tokenizer["model"]["vocab"]["one more"] = source.choice([96, 500, 100_000])
        elif kind == "model":
            del tokenizer["model"]
        else:
            tokenizer["model"]["type"] = "Oracle"
        file.write_text(json.dumps(tokenizer))
    return unlearn(sound, model)


# Interrupted runs.


@makes(corrupt=False)
def run_to_resume(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    run = Path(shutil.copytree(sound.interrupted, folder / "run"))
    metrics = run / "metrics.jsonl"
    if source.random() < 0.5:
        metrics.unlink(missing_ok=True)
    return ["unlearn", "--resume", str(run)]


@makes(corrupt=True)
def run_that_cannot_be_resumed(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    run = Path(shutil.copytree(sound.interrupted, folder / "run"))
    state, config = run / "state.safetensors", run / "config.json"
    kind = source.choice(["cut", "header", "config", "gone", "foreign", "list"])
    if kind == "cut":
        state.write_bytes(state.read_bytes()[: source.randrange(state.stat().st_size)])
    elif kind == "header":
        content = bytearray(state.read_bytes())
        content[source.choice(range(8))] ^= 1 << source.randrange(7)
        state.write_bytes(bytes(content))
    elif kind == "config":
        text = config.read_text()
        config.write_text(text[: source.randrange(len(text))])
    elif kind == "gone":
        config.unlink()
    elif kind == "foreign":
        shutil.copy(sound.single / "model.safetensors", state)
    else:
        config.write_text(source.choice(["[]", "3", "{}", '{"model": 3}']))
    return ["unlearn", "--resume", str(run)]


# Damage that shows late, and places that are not ours.


@makes(corrupt=True)
def checkpoint_that_is_not_finite(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model = Path(shutil.copytree(sound.single, folder / "model"))
    file = model / "model.safetensors"
    header, data = split_header(file.read_bytes())
    names = sorted(name for name in header if name != "__metadata__")
    start, end = header[source.choice(names)]["data_offsets"]
    place = start + 4 * source.randrange((end - start) // 4)
    value = struct.pack("<f", source.choice([float("nan"), float("inf"), float("-inf")]))
    file.write_bytes(join_header(header, data[:place] + value + data[place + 4 :]))
    return unlearn(sound, model)


@makes(corrupt=True)
def config_with_a_hostile_count(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model = Path(shutil.copytree(sound.single, folder / "model"))
    config = json.loads((model / "config.json").read_text())
    keys = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "vocab_size")
    values = [10**9, 1e9, 10**15, 10**30, -1, "many", [3], {}]
    config[source.choice(keys)] = source.choice(values)
    (model / "config.json").write_text(json.dumps(config))
    return unlearn(sound, model)


@makes(corrupt=True)
def sizes_beyond_reason(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    name = source.choice(["forget_batch_size", "retain_batch_size", "max_length", "num_self_written", "steps"])
    return unlearn(sound, **{name: source.choice([10**15, 10**30, -(10**15)])})


@makes(corrupt=True)
def names_that_no_file_may_have(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    name = source.choice(["x" * source.randint(256, 5000), "a\0b", "/".join(["y" * 200] * 30)])
    return unlearn(sound, **{source.choice(["forget", "retain"]): name + ".txt"})


@makes(corrupt=True)
def requirements_that_are_none(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    text = source.choice([" " * 120_000, "a" * 120_000, "<" * 5000, "forget<=" + " " * 50_000 + "x", "\x1b[31m<=1"])
    return unlearn(sound, require=text)


@makes(corrupt=False)
def checkpoint_with_weights_in_other_formats(source: random.Random, folder: Path, sound: Sound) -> list[str]:
    model = Path(shutil.copytree(sound.single, folder / "model"))
    names = [
        "pytorch_model.bin",
        "model.gguf",
        "onnx/model.onnx",
        "tf_model.h5",
        "consolidated.00.pth",
        ".git/objects/a",
    ]
    for name in source.sample(names, 3):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(b"what the base knows")
    return unlearn(sound, model)
