"""Unlearn, then distil into a noised copy: an idea against relearning, after arXiv 2506.06278 (abstract read).

A model that was made to forget becomes the teacher. The student is the same model with every weight drawn towards a
fresh initialisation, `w (1 - noise) + noise * fresh`; it learns the teacher's predictions on texts. What the teacher
still holds inside and no longer says is not copied. Research code: it needs texts as broad as all that must stay, and
the whole model is trained, so it is run on the embedded world's small model alone.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from srmu.evaluation.encoding import encode
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.runtime.files import new_directory

ROWS, WARMUP, FRESH_STD = 16, 50, 0.02


def distil(
    teacher_path: Path, texts: Sequence[str], out: Path, *, noise: float, steps: int, learning_rate: float, seed: int
) -> None:
    """Write the student's checkpoint.

    Args:
        teacher_path: Checkpoint of the unlearned model.
        texts: What the student learns the teacher's predictions on.
        out: Directory to write.
        noise: 0 keeps the teacher's weights, 1 begins afresh.
        steps: AdamW steps of 16 texts; the rate falls linearly to 0.
        learning_rate: Its peak.
        seed: Draws the noise and the order.
    """
    teacher, student, tokenizer = (
        load_causal_lm(teacher_path),
        load_causal_lm(teacher_path),
        load_tokenizer(teacher_path),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in student.parameters():
            # Gains of norms begin at one.
            is_gain = parameter.dim() == 1
            fresh = (
                torch.ones_like(parameter) if is_gain else FRESH_STD * torch.randn(parameter.shape, generator=generator)
            )
            parameter.lerp_(fresh, noise)
    rows = [encode(tokenizer, text) for text in texts]
    optimizer = torch.optim.AdamW(student.requires_grad_(True).parameters(), weight_decay=0.01, fused=True)
    order: list[int] = []
    for step in range(steps):
        if len(order) < ROWS:
            order += torch.randperm(len(rows), generator=generator).tolist()
        batch, order = [rows[place] for place in order[:ROWS]], order[ROWS:]
        optimizer.param_groups[0]["lr"] = learning_rate * min(1.0, (step + 1) / WARMUP) * (1 - step / steps)
        width = max(map(len, batch))
        token_ids = torch.tensor([row + [0] * (width - len(row)) for row in batch])
        real = torch.arange(width) < torch.tensor([[len(row)] for row in batch])
        with torch.no_grad():
            target = teacher(input_ids=token_ids, use_cache=False).logits[real].log_softmax(-1)
        found = student(input_ids=token_ids, use_cache=False).logits[real].log_softmax(-1)
        loss = (target.exp() * (target - found)).sum(-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0, error_if_nonfinite=True)
        optimizer.step()
        optimizer.zero_grad()
    with new_directory(out) as partial:
        student.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
