"""Soft prompt: trained vectors before every question.

Definition: eight vectors take the place of tokens, after the start token and before the question. They are trained by
AdamW to raise the likelihood of the right answers to the given half; the model's weights stay. The tested half is asked
behind the same vectors. The base goes through the same training, with the same steps and seed, as the control, and the
worst of the steps counts at which it keeps its accuracy. Source: arXiv 2402.09063 (embedding-space attacks on unlearned
models; abstract read). Trained on the very answer that is sought, soft prompts elicit any text, even from models that
never saw it (arXiv 2502.15836, abstract read): so no tested answer is trained on here, and a model that never saw the
facts stays at chance. Budget: quick 40, full 400 steps of 8 rows. Cost: a backward pass through the model per step,
without gradients of weights.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.fine_tuning import endless_batches
from srmu.evaluation.attacks.measured import Measured, measure
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.attacks.setting import SIDES, AttackSetting, right_answer
from srmu.evaluation.attacks.sweeps import record_of_sweep
from srmu.evaluation.encoding import encode_pairs, start_token_id
from srmu.evaluation.questions import QuestionScores, score_pairs
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord
from srmu.runtime.precision import mixed_precision

NUM_VECTORS = 8
RATE = 0.1
"""Learning rate, times the root mean square of the embeddings' entries: about how far a step moves each entry."""
Pair = tuple[list[int], list[int]]


def soft_prompt(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The worst of the steps at which the base keeps its accuracy."""
    courses = {side: _course(setting, side) for side in SIDES}
    steps = [step for step in courses["base"] if step in courses["result"]]
    if not steps:
        raise NotApplicable("the loss was not finite before the first stop")
    after = {float(step): {side: courses[side][step] for side in SIDES} for step in steps}
    return record_of_sweep(setting, cells, "steps of training", after, settings={"vectors": NUM_VECTORS})


def _course(setting: AttackSetting, side: str) -> dict[int, Measured]:
    """What a model knows behind the vectors after each stop; shorter where the loss is not finite."""
    for subject in setting.subjects.values():
        subject.drop()
    model = setting.subjects[side].fresh("float32")
    model.requires_grad_(False)
    stops = setting.budget.prompt_steps
    found: dict[int, Measured] = {}
    vectors = nn.Parameter(first_vectors(model, setting.seed))
    with (
        soft_prompted(model, vectors) as first_id,
        setting.reporter.task(f"Soft prompt, {side}") as progress,
    ):
        ask = partial(ask_behind, setting.tokenizer, first_id)
        rows = given_rows(setting.tokenizer, setting.given, first_id)
        rate = RATE * float(vectors.detach().square().mean().sqrt())
        optimizer = torch.optim.AdamW([vectors], lr=rate, weight_decay=0.0)
        batches = endless_batches(rows, setting.seed)
        for step in range(1, stops[-1] + 1):
            with mixed_precision(model.device):
                loss = answer_loss(model, next(batches))
            if not math.isfinite(loss.item()):
                break
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step in stops:
                with mixed_precision(model.device):
                    found[step] = measure(setting, model, ask=ask)
                progress(step, stops[-1])
    return found


def first_vectors(model: Any, seed: int) -> Float[Tensor, "vectors hidden"]:
    """Embeddings of tokens drawn at random."""
    embedding = model.get_input_embeddings()
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.randint(len(embedding.weight), (NUM_VECTORS,), generator=generator)
    return embedding(token_ids.to(embedding.weight.device)).detach().clone()


class PromptEmbedding(nn.Module):
    """A model's embedding with further token ids, from `first_id` on, for the vectors."""

    def __init__(self, original: nn.Module, vectors: Tensor, first_id: int):
        super().__init__()
        self.original = original
        self.vectors = vectors
        self.first_id = first_id

    @property
    def weight(self) -> Tensor:
        """Of the tokens, which Gemma 4 looks into."""
        return self.original.weight  # type: ignore[return-value]

    def forward(self, token_ids: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq hidden"]:
        """Embeddings of tokens, and the vectors at their ids."""
        embedded = self.original(token_ids.clamp(max=self.first_id - 1))
        vectors = self.vectors[(token_ids - self.first_id).clamp(min=0)].to(embedded.dtype)
        return torch.where((token_ids >= self.first_id)[..., None], vectors, embedded)


@contextmanager
def soft_prompted(model: Any, vectors: Float[Tensor, "vectors hidden"]) -> Iterator[int]:
    """While the context lasts, the model takes the ids of the vectors; gives the first of them.

    Args:
        model: Its input embedding is replaced while the context lasts.
        vectors: As the embedding gives them for tokens.
    """
    original = model.get_input_embeddings()
    first_id = len(original.weight)
    model.set_input_embeddings(PromptEmbedding(original, vectors, first_id))
    try:
        yield first_id
    finally:
        model.set_input_embeddings(original)


def behind_vectors(tokenizer: Any, context: Sequence[int], first_id: int) -> list[int]:
    """The ids of the vectors, after the start token where there is one, and then the context."""
    start = 1 if list(context[:1]) == [start_token_id(tokenizer)] else 0
    return [*context[:start], *range(first_id, first_id + NUM_VECTORS), *context[start:]]


def ask_behind(tokenizer: Any, first_id: int, model: Any, questions: Sequence[Question]) -> QuestionScores:
    """Scores of questions behind the vectors."""
    pairs = []
    for question in questions:
        for context, answer in encode_pairs(tokenizer, question.prompt, [" " + choice for choice in question.choices]):
            pairs.append((behind_vectors(tokenizer, context, first_id), answer))
    return score_pairs(model, questions, pairs)


def given_rows(tokenizer: Any, questions: Sequence[Question], first_id: int) -> list[Pair]:
    """Context behind the vectors and right answer of each question, as token ids."""
    rows = []
    for question in questions:
        ((context, answer),) = encode_pairs(tokenizer, question.prompt, [" " + right_answer(question)])
        rows.append((behind_vectors(tokenizer, context, first_id), answer))
    return rows


def answer_loss(model: Any, rows: Sequence[Pair]) -> Tensor:
    """Mean nats per token of the answers."""
    width = max(len(context) + len(answer) for context, answer in rows)
    token_ids = torch.zeros((len(rows), width), dtype=torch.long)
    targets = torch.full_like(token_ids, -100)
    for place, (context, answer) in enumerate(rows):
        end = len(context) + len(answer)
        token_ids[place, :end] = torch.tensor([*context, *answer])
        targets[place, len(context) : end] = torch.tensor(answer)
    # No mask of attention: padding comes after all that counts, where nothing sees it.
    logits = model(input_ids=token_ids.to(model.device), use_cache=False).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1).float(), targets[:, 1:].flatten().to(model.device))
