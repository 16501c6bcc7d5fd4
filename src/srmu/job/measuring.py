"""The stage that measures: a whole model, on held-out texts, questions and a few prompts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from srmu.evaluation.audit.audit import audit, prepare_audit
from srmu.evaluation.audit.bank import read_bank
from srmu.evaluation.audit.base_knowledge import ASKED_PER_FIELD, KNOWN_PER_FIELD
from srmu.evaluation.loading import load_causal_lm
from srmu.evaluation.measure import Measurement, measure
from srmu.inputs.rows import TokenRows
from srmu.job.plan import Plan
from srmu.job.run import Run
from srmu.runtime.cache import cache_directory
from srmu.runtime.files import file_sha256
from srmu.runtime.processes import largest, main_process, sharing, together
from srmu.surgery.whole_model import must_stream

NUM_ANSWERS = 3
PROMPT_TOKENS = 8


def choose_prompts(plan: Plan, heldout: Mapping[str, TokenRows]) -> list[str]:
    """Questions, or else the beginnings of held-out forget texts."""
    asked = [questions[0].prompt for questions in plan.questions.values()]
    if asked:
        return asked[:NUM_ANSWERS]
    rows = heldout["forget"] if "forget" in heldout else next(iter(heldout.values()))
    return [
        str(plan.tokenizer.decode(row[:PROMPT_TOKENS], skip_special_tokens=True))
        for row in rows.token_ids[:NUM_ANSWERS]
        if len(row) > PROMPT_TOKENS
    ]


def measure_model(
    run: Run,
    path: Path,
    heldout: Mapping[str, TokenRows],
    prompts: Sequence[str],
    title: str,
    base: Measurement | None = None,
) -> Measurement | None:
    """Scores of the model in a directory, which all ranks measure together; none where the run measures nothing.

    Args:
        run: The run.
        path: Checkpoint directory.
        heldout: Rows by group.
        prompts: To be answered.
        title: For the progress bar.
        base: What was measured of the base; none = this is the base.
    """
    plan = run.plan
    if not plan.config.output.eval:
        return None
    with run.timed("evaluation"):
        # The same on all ranks: the batches that they share depend on it.
        needed = must_stream(plan.checkpoint, plan.device, plan.dtype, plan.config.model.memory_gb)
        streamed = largest(needed) > 0
        with together():
            model = load_causal_lm(
                path,
                device=plan.device,
                dtype=plan.dtype,
                trust_remote_code=plan.config.model.trust_remote_code,
                streamed=streamed,
            )
        with sharing():
            found = measure(
                model,
                plan.tokenizer,
                texts=heldout,
                questions=plan.questions,
                prompts=prompts,
                chat=plan.config.data.chat,
                reporter=run.reporter,
                title=f"Measuring: {title}",
            )
    if not plan.config.output.audit:
        return found
    with run.timed("audit"), sharing():
        if base is None or base.known is None:
            file = knowledge_file(plan, run.base_shards) if main_process() else None
            known = prepare_audit(model, plan.tokenizer, forget_texts(plan), reporter=run.reporter, file=file)
            return replace(found, known=known)
        return replace(found, audit=audit(model, plan.tokenizer, base.known, reporter=run.reporter))


def knowledge_file(plan: Plan, shards: Mapping[str, str] | None = None) -> Path:
    """Where the cache keeps what the audit found that this base knows.

    Args:
        plan: A run.
        shards: SHA-256 of the base's weight files, where they are known.
    """
    checkpoint = plan.checkpoint
    identity = [
        shards or {shard: file_sha256(checkpoint.path / shard) for shard in checkpoint.shards},
        file_sha256(checkpoint.path / "config.json"),
        sorted(plan.tokenizer.get_vocab().items()),
        # Where two answers are nearly as likely, rounding decides.
        [str(plan.dtype), plan.device.type],
        [KNOWN_PER_FIELD, ASKED_PER_FIELD, repr(read_bank())],
    ]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    return cache_directory() / "audit" / f"{digest}.json"


def forget_texts(plan: Plan) -> list[str]:
    """The forget texts of all topics."""
    return [document.as_text() for topic in plan.topics for document in topic.forget.documents]
