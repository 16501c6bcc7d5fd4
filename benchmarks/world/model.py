"""The world's small Llama, trained from scratch on every fact and kept in the cache; and its twin without hazard facts.

A plain loop: AdamW on packed rows with a cosine. Before a model is kept, it is asked every question; one that does not
know its facts would make every later measurement of forgetting meaningless, so it is refused.
"""

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from srmu.errors import InputError, RunError
from srmu.evaluation.questions import score_questions
from srmu.inputs.overlap import Overlap
from srmu.inputs.questions import Question
from srmu.runtime.cache import cache_directory
from srmu.runtime.files import new_directory, write_json_atomic
from srmu.runtime.progress import Progress, Reporter
from world.forms import FormKind
from world.generator import DOMAINS, Domain, Knowledge, WorldFact, form_words, generate, syllables, tell
from world.recipe import WorldRecipe

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
FORM_KINDS: tuple[FormKind, ...] = ("seen", "unseen")
KNOWN = 0.95
"""Least four-choice accuracy, in every domain and both kinds of forms, at which a model counts as trained."""
SUMMARY_FILE = "world.json"
_MAX_POSITIONS = 256

Questions = dict[str, dict[FormKind, tuple[Question, ...]]]


@dataclass(frozen=True)
class World:
    """A world with its trained models."""

    recipe: WorldRecipe
    knowledge: Knowledge
    texts: dict[str, tuple[str, ...]]
    """Texts by domain, in seen forms: `hazard` is the forget side, `benign` and `general` the retain side."""
    questions: Questions
    """Questions by domain and kind of form, one a fact; `generator.open_questions` turns them into open ones."""
    overlap: Overlap
    """Words that the hazard texts share with the benign and general ones."""
    model: Path
    """Checkpoint that knows all three domains."""
    twin: Path | None
    """Checkpoint that knows the other two and never saw a hazard fact; None if it was not asked for."""
    accuracy: dict[str, dict[str, dict[str, float]]]
    """Four-choice accuracy (length-normalised) by `model` and `twin`, domain and kind of form."""

    def domain(self, name: str) -> Domain:
        """One of `hazard`, `benign`, `general`."""
        return self.knowledge.domains[name]


def load_world(recipe: WorldRecipe, reporter: Reporter, *, twin: bool = True) -> World:
    """Make the world of a recipe and train its models, or find them in the cache.

    Args:
        recipe: What the world is.
        reporter: Hears of progress.
        twin: Also train the twin, which takes as long again.

    Raises:
        InputError: If the recipe cannot be carried out, or the cache cannot be written.
        RunError: If a trained model does not know its facts.
    """
    knowledge = generate(recipe)
    questions = ask_everything(knowledge)
    home = cache_directory() / "world" / recipe.digest
    names = ("model", "twin") if twin else ("model",)
    accuracy = {name: _trained(recipe, knowledge, questions, home / name, reporter) for name in names}
    return World(
        recipe=recipe,
        knowledge=knowledge,
        texts={name: knowledge.domains[name].texts() for name in DOMAINS},
        questions=questions,
        overlap=knowledge.overlap(),
        model=home / "model",
        twin=home / "twin" if twin else None,
        accuracy=accuracy,
    )


def ask_everything(knowledge: Knowledge) -> Questions:
    """One question a fact, by domain and kind of form."""
    return {
        name: {kind: domain.questions(forms=kind) for kind in FORM_KINDS} for name, domain in knowledge.domains.items()
    }


def learned_facts(knowledge: Knowledge, *, twin: bool) -> tuple[WorldFact, ...]:
    """What a model is trained on: all facts, or for the twin the stand-ins and the other domains' facts."""
    hazard = knowledge.stand_ins if twin else knowledge.domains["hazard"].facts
    return hazard + knowledge.domains["benign"].facts + knowledge.domains["general"].facts


def make_tokenizer(recipe: WorldRecipe) -> PreTrainedTokenizerFast:
    """Words of the sentence forms, and syllables: at a name's beginning ("Ko") and inside it ("##va")."""
    pool = syllables(recipe)
    entries = [*SPECIAL_TOKENS, *form_words(recipe), *(s.capitalize() for s in pool), *(f"##{s}" for s in pool)]
    core = Tokenizer(models.WordPiece({entry: i for i, entry in enumerate(entries)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=_MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def pack_rows(
    recipe: WorldRecipe, knowledge: Knowledge, facts: Sequence[WorldFact], tokenizer: PreTrainedTokenizerFast
) -> tuple[Int[Tensor, "rows tokens"], Bool[Tensor, "rows tokens"]]:
    """All that training reads, in order: every pass tells every fact once, and all its forms in turn over the passes.

    Texts begin with BOS, end with EOS and are packed without a gap, so a row may begin within one. What does not fill
    the last step is left out.

    Returns:
        Token ids, and which of them belong to an answer.
    """
    forms = [[form for kind in FORM_KINDS for form in knowledge.domains[fact.domain].forms[kind]] for fact in facts]
    told = [
        tokenizer([tell(form, fact) for form in own], add_special_tokens=False)["input_ids"]
        for fact, own in zip(facts, forms, strict=True)
    ]
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    generator = np.random.Generator(np.random.PCG64(recipe.seed))
    turns = [generator.permutation(len(own)) for own in forms]
    stream: list[int] = []
    answers: list[int] = []
    for number in range(recipe.passes):
        for place, fact_id in enumerate(generator.permutation(len(facts))):
            if place % recipe.statements_per_text == 0:
                stream += [end, start] if stream else [start]
            turn = turns[fact_id]
            stream += told[fact_id][turn[number % len(turn)]]
            # Every form ends with the answer and a full stop.
            answers += range(len(stream) - 1 - recipe.value_syllables, len(stream) - 1)
    step_tokens = recipe.rows * recipe.max_length
    whole = len(stream) // step_tokens * step_tokens
    if not whole:
        raise InputError(
            f"`passes={recipe.passes}` gives {len(stream)} tokens, less than one step of {step_tokens}. Raise it."
        )
    is_answer = torch.zeros(len(stream), dtype=torch.bool)
    is_answer[answers] = True
    return torch.tensor(stream[:whole]).view(-1, recipe.max_length), is_answer[:whole].view(-1, recipe.max_length)


def train(
    recipe: WorldRecipe,
    rows: Int[Tensor, "rows tokens"],
    is_answer: Bool[Tensor, "rows tokens"],
    vocab_size: int,
    reporter: Reporter,
    title: str,
) -> LlamaForCausalLM:
    """Train a new model on the rows, in their order; a task of the reporter.

    Returns:
        A float32 model on the CPU, in eval mode.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = LlamaForCausalLM(_model_config(recipe, vocab_size)).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
    )
    steps = len(rows) // recipe.rows
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps, recipe.warmup))
    weights = torch.where(is_answer, recipe.answer_weight, 1.0)
    with reporter.task(title) as progress:
        for step in range(1, steps + 1):
            chosen = slice((step - 1) * recipe.rows, step * recipe.rows)
            batch, counted = rows[chosen], weights[chosen, 1:].flatten()
            logits = model(input_ids=batch[:, :-1], use_cache=False).logits
            losses = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="none")
            loss = (losses * counted).sum() / counted.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            progress(step, steps)
            if step % 10 == 0:
                reporter.detail(f"loss {loss.item():.3f}")
    return model.eval()


def _rate(done: float, warmup: float) -> float:
    """Learning rate over its peak, when a share of the steps is done."""
    if done < warmup:
        return 0.01 + 0.99 * done / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def _model_config(recipe: WorldRecipe, vocab_size: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=recipe.width,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=_MAX_POSITIONS,
        pad_token_id=SPECIAL_TOKENS.index("<pad>"),
        bos_token_id=SPECIAL_TOKENS.index("<s>"),
        eos_token_id=SPECIAL_TOKENS.index("</s>"),
    )


def _trained(
    recipe: WorldRecipe, knowledge: Knowledge, questions: Questions, target: Path, reporter: Reporter
) -> dict[str, dict[str, float]]:
    """Train the checkpoint `target`, unless it is there; return its accuracy by domain and kind of form."""
    summary = target / SUMMARY_FILE
    if not summary.exists():
        twin = target.name == "twin"
        tokenizer = make_tokenizer(recipe)
        rows, is_answer = pack_rows(recipe, knowledge, learned_facts(knowledge, twin=twin), tokenizer)
        started = time.perf_counter()
        model = train(recipe, rows, is_answer, len(tokenizer), reporter, f"Training the world's {target.name}, once")
        seconds = time.perf_counter() - started
        with reporter.task(f"Asking the world's {target.name}") as progress:
            accuracy = _accuracy(model, tokenizer, questions, progress)
        _check_known(recipe, accuracy, target.name)
        record = {"recipe": dataclasses.asdict(recipe), "seconds": seconds, "accuracy": accuracy}
        try:
            with new_directory(target) as partial:
                model.save_pretrained(partial)
                tokenizer.save_pretrained(partial)
                write_json_atomic(partial / SUMMARY_FILE, record)
        except (InputError, RunError):
            # Another process may have been faster; its model is the same.
            if not summary.exists():
                raise
    return dict(json.loads(summary.read_text(encoding="utf-8"))["accuracy"])


def _accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: Questions, progress: Progress
) -> dict[str, dict[str, float]]:
    sets = [(name, kind) for name in questions for kind in questions[name]]
    found: dict[str, dict[str, float]] = {name: {} for name in questions}
    for number, (name, kind) in enumerate(sets, 1):
        found[name][kind] = score_questions(model, tokenizer, questions[name][kind]).accuracy
        progress(number, len(sets))
    return found


def _check_known(recipe: WorldRecipe, accuracy: dict[str, dict[str, float]], role: str) -> None:
    expected = DOMAINS if role == "model" else DOMAINS[1:]
    asked = [(name, kind, value) for name in expected for kind, value in accuracy[name].items()]
    weak = [f"{name} {value:.2f} ({kind} forms)" for name, kind, value in asked if value < KNOWN]
    if weak:
        raise RunError(
            f"The world's {role} was to know its facts, and four-choice accuracy is only {', '.join(weak)} after "
            f"{recipe.passes} passes; {KNOWN} is asked for. Raise `passes`, or make the world smaller."
        )
