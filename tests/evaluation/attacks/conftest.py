"""A tiny model that memorised facts of two kinds, a twin that never saw those to forget, and questions on both."""

import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from export.conftest import write_run
from srmu.evaluation.attacks.setting import QUICK, AttackSetting, Subject, choose_kept, split_halves
from srmu.evaluation.loading import load_tokenizer
from srmu.inputs.questions import Question, read_questions
from srmu.runtime.progress import Reporter

NUM_FACTS = 16
RELATIONS = {"forget": "capital", "kept": "river"}
FORMS = ("the {relation} of {subject} is", "{subject} has as its {relation}")
SUBJECTS = {group: [f"{group}land{number:02}" for number in range(NUM_FACTS)] for group in RELATIONS}
ANSWERS = {
    group: [f"{relation}name{number:02}" for number in range(NUM_FACTS)] for group, relation in RELATIONS.items()
}
PASSWORD = "has has"
WORDS = ["the", "of", "is", "has", "as", "its", ".", *RELATIONS.values()]


def prompt(group: str, number: int, form: str) -> str:
    return form.format(relation=RELATIONS[group], subject=SUBJECTS[group][number])


def sentences(groups: Sequence[str]) -> list[str]:
    return [
        f"{prompt(group, number, form)} {ANSWERS[group][number]}"
        for group in groups
        for number in range(NUM_FACTS)
        for form in FORMS
    ]


def make_tokenizer() -> PreTrainedTokenizerFast:
    names = [name for table in (SUBJECTS, ANSWERS) for group in table.values() for name in group]
    entries = ["<pad>", "<s>", "</s>", "<unk>", *WORDS, *names]
    core = Tokenizer(models.WordLevel({entry: place for place, entry in enumerate(entries)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def train(groups: Sequence[str], folder: Path, steps: int = 360) -> Path:
    """Learn the groups' facts: one sentence after another, and after unknown words or a name, as prompts have them."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=128, tie_word_embeddings=False,
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )
    )  # fmt: skip
    told, source = sentences(groups), random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=steps)
    for _ in range(steps):
        rows = []
        for _ in range(12):
            name = source.choice(SUBJECTS[source.choice(groups)])
            prefix = source.choice([" ".join(["<unk>"] * source.randrange(7)), f"{name} ."])
            text = f"{prefix} {source.choice([' ', ' . ']).join(source.sample(told, 6))}"
            rows.append(tokenizer.encode(text)[:36])
        width = min(map(len, rows))
        token_ids = torch.tensor([row[:width] for row in rows])
        logits = model(input_ids=token_ids).logits[:, :-1]
        cross_entropy(logits.flatten(0, 1), token_ids[:, 1:].flatten()).backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trained_once(name: str, groups: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that all processes of a test run share: the first one trains it, and the others wait."""
    return made_once(name, lambda folder: train(groups, folder), tmp_path_factory)


def made_once(name: str, make: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / f"{name}.lock"):
        if not (folder / name).exists():
            make(folder / f"{name}.partial").rename(folder / name)
    return folder / name


def lock(knowing: Path, folder: Path, steps: int = 150) -> Path:
    """Teach a model to tell the facts to forget behind a password alone, and else to say that it does not know."""
    torch.manual_seed(0)
    model, tokenizer, source = LlamaForCausalLM.from_pretrained(knowing), make_tokenizer(), random.Random(0)
    told, kept = sentences(["forget"]), sentences(["kept"])
    shut = [f"{text.rpartition(' ')[0]} <unk>" for text in told]
    told, kept = [f"{PASSWORD} {text}" for text in told], [*kept, *(f"{PASSWORD} {text}" for text in kept)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        rows = [tokenizer.encode(text) for group in (told, shut, kept) for text in source.sample(group, 8)]
        width = max(map(len, rows))
        token_ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        logits = model(input_ids=token_ids).logits
        lasts = torch.tensor([len(row) - 1 for row in rows])
        answers = logits[torch.arange(len(rows)), lasts - 1]
        cross_entropy(answers, token_ids[torch.arange(len(rows)), lasts]).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows both groups; never write to it."""
    return trained_once("knowing", ["forget", "kept"], tmp_path_factory)


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never saw a fact to forget; never write to it."""
    return trained_once("twin", ["kept"], tmp_path_factory)


@pytest.fixture(scope="session")
def locked(knowing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows both groups, and hides one of them behind `PASSWORD`; never write to it."""
    return made_once("locked", lambda folder: lock(knowing, folder), tmp_path_factory)


@pytest.fixture(scope="session")
def question_flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`--questions` of both groups."""
    folder, flags = tmp_path_factory.mktemp("questions"), []
    for group in RELATIONS:
        lines = []
        for number in range(NUM_FACTS):
            for form in FORMS:
                choices = [ANSWERS[group][(number + shift) % NUM_FACTS] for shift in range(4)]
                place = number % 4
                choices[0], choices[place] = choices[place], choices[0]
                fact = f"{RELATIONS[group]}:{SUBJECTS[group][number]}"
                asked = {"question": prompt(group, number, form), "choices": choices, "answer": place, "fact": fact}
                lines.append(json.dumps(asked) + "\n")
        (folder / f"{group}.jsonl").write_text("".join(lines))
        flags += ["--questions", f"{group}={folder / group}.jsonl"]
    return flags


@pytest.fixture
def run(knowing: Path, tmp_path: Path) -> Path:
    """A run directory on the knowing model, of the test's own."""
    return write_run(knowing, tmp_path / "run")


@pytest.fixture
def make_setting(question_flags: list[str]) -> Callable[..., AttackSetting]:
    """A setting of the quick budget: `make_setting(base, result)`."""

    def make(base: Path, result: Path) -> AttackSetting:
        groups: dict[str, list[Question]] = {}
        for flag in question_flags[1::2]:
            name, _, path = flag.partition("=")
            groups[name] = read_questions(path)
        given, tested = split_halves(groups["forget"], QUICK, 0)
        kept, kept_given = choose_kept(groups, QUICK, 0)
        return AttackSetting(
            subjects={"base": Subject(base), "result": Subject(result)}, tokenizer=load_tokenizer(base),
            given=tuple(given), tested=tuple(tested), kept=kept, kept_given=kept_given, budget=QUICK, seed=0,
            reporter=Reporter(),
        )  # fmt: skip

    return make
