"""The stage that measures: a whole model, on held-out texts, questions and a few prompts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from srmu.evaluation.audit.audit import audit, prepare_audit
from srmu.evaluation.audit.bank import read_bank
from srmu.evaluation.audit.base_knowledge import ASKED_PER_FIELD, KNOWN_PER_FIELD
from srmu.evaluation.fluency import Answers, base_nll, compare_fluency, language_nll
from srmu.evaluation.loading import load_causal_lm
from srmu.evaluation.measure import Measurement, measure
from srmu.inputs.rows import TokenRows
from srmu.job.plan import Plan
from srmu.job.run import Run
from srmu.results.fluency_records import FluencyGroup
from srmu.results.sides import sides_of
from srmu.runtime.cache import cache_directory
from srmu.runtime.files import file_sha256
from srmu.runtime.processes import largest, main_process, sharing, together
from srmu.surgery.agreement import whole_stream
from srmu.surgery.whole_model import must_stream

NUM_SHOWN, NUM_JUDGED = 3, 12
PROMPT_TOKENS = 8


@dataclass(frozen=True)
class Prompts:
    """What the base and the result are asked to go on from.

    Attributes:
        shown: Whose answers are shown at the end.
        forget: About what is to be forgotten: whether their answers are still language is judged.
    """

    shown: Sequence[str] = ()
    forget: Sequence[str] = ()

    @property
    def all(self) -> list[str]:
        """Those that are shown, then those that are judged."""
        return [*self.shown, *self.forget]


def choose_prompts(plan: Plan, heldout: Mapping[str, TokenRows]) -> Prompts:
    """Questions, or else the beginnings of texts."""
    asked = [questions[0].prompt for questions in plan.questions.values()]
    if not asked:
        rows = heldout["forget"] if "forget" in heldout else next(iter(heldout.values()))
        asked = [
            str(plan.tokenizer.decode(row[:PROMPT_TOKENS], skip_special_tokens=True))
            for row in rows.token_ids
            if len(row) > PROMPT_TOKENS
        ]
    return Prompts(asked[:NUM_SHOWN], _forget_prompts(plan))


def _forget_prompts(plan: Plan) -> list[str]:
    """Questions of the forget side, or else beginnings of the forget texts, from all over them."""
    sides = sides_of(plan.questions, plan.config.data.sides)
    asked = [question.prompt for name, group in plan.questions.items() if sides[name] == "forget" for question in group]
    if asked:
        return _spread(list(dict.fromkeys(asked)))
    begun = []
    for text in _spread(list(dict.fromkeys(forget_texts(plan)))):
        token_ids = plan.tokenizer.encode(text, add_special_tokens=False)
        begun.append(plan.tokenizer.decode(token_ids[: min(PROMPT_TOKENS, -(-len(token_ids) // 2))]))
    return begun


def _spread(items: Sequence[str]) -> list[str]:
    """So many of them as are judged, at equal distances."""
    step = max(1, len(items) // NUM_JUDGED)
    return list(items[::step][:NUM_JUDGED])


def measure_model(
    run: Run,
    path: Path,
    heldout: Mapping[str, TokenRows],
    prompts: Prompts,
    title: str,
    base: Measurement | None = None,
) -> Measurement | None:
    """Scores of the model in a directory, which all ranks measure together; none where the run measures nothing.

    Args:
        run: The run.
        path: Checkpoint directory.
        heldout: Rows by group.
        prompts: To go on from.
        title: For the progress bar.
        base: What was measured of the base; none = this is the base.
    """
    plan = run.plan
    if not plan.config.output.eval:
        return None
    with run.timed("evaluation"):
        model = _load(plan, path)
        if base is None:
            run.base_stream = whole_stream(model, plan.depth - 1)
        with sharing():
            found = measure(
                model,
                plan.tokenizer,
                texts=heldout,
                questions=plan.questions,
                prompts=prompts.all,
                chat=plan.config.data.chat,
                reporter=run.reporter,
                title=f"Measuring: {title}",
            )
            if base is None and prompts.forget:
                said, chat = found.answers[len(prompts.shown) :], plan.config.data.chat
                nll = base_nll(model, plan.tokenizer, prompts.forget, said, chat=chat)
                language = language_nll(model, plan.tokenizer, prompts.forget, said, nll, chat=chat)
                found = replace(found, nll=tuple(nll), language=tuple(language))
    if not plan.config.output.audit:
        return found
    with run.timed("audit"), sharing():
        if base is None or base.known is None:
            file = knowledge_file(plan, run.base_shards) if main_process() else None
            known = prepare_audit(model, plan.tokenizer, forget_texts(plan), reporter=run.reporter, file=file)
            return replace(found, known=known)
        return replace(found, audit=audit(model, plan.tokenizer, base.known, reporter=run.reporter))


def judge_fluency(run: Run, prompts: Prompts, base: Measurement, result: Measurement) -> FluencyGroup | None:
    """Whether answers to the forget prompts are still language; none without such prompts.

    The base is loaded once more, since it has to say how likely it finds the result's answers.
    """
    plan = run.plan
    if not prompts.forget:
        return None
    said = [measured.answers[len(prompts.shown) :] for measured in (base, result)]
    nll = list(base.nll)
    if said[0] != said[1]:
        with run.timed("fluency"), run.reporter.task("Fluency of answers") as progress:
            progress(0, 1)
            with sharing():
                model = _load(plan, plan.checkpoint.path)
                nll = base_nll(model, plan.tokenizer, prompts.forget, said[1], chat=plan.config.data.chat)
            progress(1, 1)
    before, after = Answers(prompts.forget, said[0], base.nll), Answers(prompts.forget, said[1], nll)
    return compare_fluency(plan.tokenizer, before, after, base.language)


def _load(plan: Plan, path: Path) -> Any:
    """The whole model in a directory, on all ranks."""
    # The same on all ranks: the batches that they share depend on it.
    needed = must_stream(plan.checkpoint, plan.device, plan.dtype, plan.config.model.memory_gb)
    streamed = largest(needed) > 0
    with together():
        return load_causal_lm(
            path,
            device=plan.device,
            dtype=plan.dtype,
            trust_remote_code=plan.config.model.trust_remote_code,
            streamed=streamed,
        )


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
