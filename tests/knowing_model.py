"""A tiny model that knows facts by heart, made in seconds, and requests to erase some of them."""

import json
import random
from pathlib import Path

import torch
import transformers

from tiny_tokenizers import WORDS, make_tokenizer

SUBJECTS = [*WORDS[10:44], *WORDS[48:54]]
ANSWERS = [*WORDS[54:60], *WORDS[44:48]]
FACTS = {subject: ANSWERS[number % len(ANSWERS)] for number, subject in enumerate(SUBJECTS)}
FORMS = ("the {} holds", "{} opens with", "in {} is", "the small {} keeps")
"""Sentences up to the answer."""
PER_REQUEST = 3
MOST_STEPS = 400


def statements(subjects: list[str]) -> list[str]:
    """Every fact in every form."""
    return [f"{form.format(subject)} {FACTS[subject]} ." for subject in subjects for form in FORMS]


def save_knowing(path: Path, seed: int = 0) -> Path:
    """Train a model on all facts until it completes each statement, and save it."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=96, hidden_size=48, intermediate_size=96, num_hidden_layers=5, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
            tie_word_embeddings=False, initializer_range=0.1,
        )
    )  # fmt: skip
    rows = tokenizer(statements(SUBJECTS), padding=True, return_tensors="pt")
    labels = rows.input_ids.masked_fill(rows.attention_mask == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    right = False
    for step in range(MOST_STEPS):
        batch = torch.randint(len(labels), (40,))
        loss = model(rows.input_ids[batch], attention_mask=rows.attention_mask[batch], labels=labels[batch]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 19 and (right := _knows_all(model, rows)):
            break
    assert right, "the tiny model did not learn its facts"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@torch.no_grad()
def _knows_all(model: transformers.LlamaForCausalLM, rows: transformers.BatchEncoding) -> bool:
    logits = model(rows.input_ids, attention_mask=rows.attention_mask).logits
    every, ends = torch.arange(len(logits)), rows.attention_mask.sum(1)
    return bool((logits[every, ends - 3].argmax(-1) == rows.input_ids[every, ends - 2]).all())


def write_request(folder: Path, number: int) -> tuple[Path, Path]:
    """Texts and questions of a request about some subjects; from 0."""
    subjects = SUBJECTS[number * PER_REQUEST : (number + 1) * PER_REQUEST]
    texts, questions = folder / f"texts-{number}.jsonl", folder / f"questions-{number}.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in statements(subjects)))
    questions.write_text(_questions(subjects))
    return texts, questions


def write_kept(folder: Path, num_requests: int) -> tuple[Path, Path]:
    """Texts and questions on all subjects of no request."""
    subjects = SUBJECTS[num_requests * PER_REQUEST :]
    texts, questions = folder / "kept.jsonl", folder / "kept-questions.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in statements(subjects)))
    questions.write_text(_questions(subjects))
    return texts, questions


def _questions(subjects: list[str]) -> str:
    source, lines = random.Random(0), []
    for subject in subjects:
        for form in FORMS:
            others = [answer for answer in ANSWERS if answer != FACTS[subject]]
            choices = [*source.sample(others, 3), FACTS[subject]]
            source.shuffle(choices)
            answer = choices.index(FACTS[subject])
            record = {"question": form.format(subject), "choices": choices, "answer": answer, "fact": subject}
            lines.append(json.dumps(record) + "\n")
    return "".join(lines)
