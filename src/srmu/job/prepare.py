"""The token rows of a run: what is trained on, what is held out, and the texts that the base model writes itself."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from srmu.config.sources import HUB, NEAR, SELF
from srmu.errors import InputError
from srmu.evaluation.loading import load_causal_lm
from srmu.inputs.corpora import Corpus, read_corpus
from srmu.inputs.judged_texts import Judgement
from srmu.inputs.near_texts import write_near_texts
from srmu.inputs.rows import TokenRows
from srmu.inputs.self_written import write_self_texts
from srmu.job.plan import Plan, SplitRows
from srmu.results.manifest import DataRecord
from srmu.results.schema import load, to_json
from srmu.runtime.cache import cache_directory
from srmu.runtime.files import file_sha256, write_atomic, write_json_atomic
from srmu.runtime.processes import main_process, together
from srmu.runtime.progress import Reporter
from srmu.solver.topics import TopicRows
from srmu.surgery.whole_model import must_stream, rows_at_once

SELF_TOKENS = 60
SELF_BATCH = 48
# Of how texts near the forget texts are written and judged: those of another one are not taken from the cache.
_NEAR_VERSION = 2


@dataclass(frozen=True)
class Prepared:
    """The rows of all topics.

    Attributes:
        topics: In the order of the plan.
        records: What the manifest says of each source.
        seconds: Wall time in which the base model wrote texts; 0 if it wrote none.
    """

    topics: tuple[TopicRows, ...]
    records: tuple[DataRecord, ...]
    seconds: float

    def heldout_groups(self) -> dict[str, TokenRows]:
        """Held-out rows by side; of several topics each by its name."""
        groups = {}
        for topic in self.topics:
            prefix = "" if len(self.topics) == 1 else f"{topic.name}."
            groups[f"{prefix}forget"] = topic.forget_heldout
            groups[f"{prefix}retain"] = join_rows(topic.retain_heldout)
        return groups


def prepare_rows(plan: Plan, reporter: Reporter) -> Prepared:
    """Turn a plan's texts into rows; on several ranks each gets them all.

    Args:
        plan: The run.
        reporter: Hears of the texts that the base model writes.

    Raises:
        InputError: If texts give no row, or the base model's own texts are no use.
    """
    topics, records, seconds = [], [], 0.0
    for topic in plan.topics:
        # What is wrong with the texts is to be known before the base model writes its own for minutes.
        splits = [plan.rows(topic.forget, answers_only=True), *(plan.rows(corpus) for corpus in topic.retain)]
        for line in (topic.forget.read_as, *(note for c in (topic.forget, *topic.retain) for note in c.notes)):
            reporter.note(f"{topic.name.capitalize()} texts: {line}".replace("[", r"\["))
        corpora = list(topic.retain)
        for source in topic.written:
            started = time.perf_counter()
            corpora.append(written_by_base(plan, topic.forget, source, reporter))
            seconds += time.perf_counter() - started
            splits.append(plan.rows(corpora[-1]))
        records += [
            _record(topic.name, "retain" if number else "forget", corpus, split)
            for number, (corpus, split) in enumerate(zip((topic.forget, *corpora), splits, strict=True))
        ]
        topics.append(
            TopicRows(
                name=topic.name,
                forget=splits[0].train,
                retain=tuple(split.train for split in splits[1:]),
                steering_coefficient=topic.steering_coefficient,
                retain_weight=topic.retain_weight,
                forget_heldout=splits[0].heldout,
                retain_heldout=tuple(split.heldout for split in splits[1:]),
                sources=tuple(public_name(corpus.source) for corpus in corpora),
            )
        )
    return Prepared(tuple(topics), tuple(records), seconds)


def written_by_base(plan: Plan, forget: Corpus, source: str, reporter: Reporter) -> Corpus:
    """Texts that the base model writes; kept in the cache, since they cost more than the training."""
    config, checkpoint = plan.config, plan.checkpoint
    sort = [] if source == SELF else [source, _NEAR_VERSION]
    identity = json.dumps(
        [
            {shard: file_sha256(checkpoint.path / shard) for shard in checkpoint.shards},
            forget.sha256, config.data.num_self_written, SELF_TOKENS, config.training.seed, *sort,
        ]
    )  # fmt: skip
    file = cache_directory() / "self" / (hashlib.sha256(identity.encode()).hexdigest()[:24] + ".jsonl")
    with together():
        if main_process() and not file.exists():
            _write(plan, forget, source, file, reporter)
    with together():
        if main_process() and source == NEAR:
            reporter.note(load(Judgement, _judgement_file(file)).describe())
        corpus = read_corpus([str(file)], role="retain")
    return dataclasses.replace(corpus, source=source)


def _write(plan: Plan, forget: Corpus, source: str, file: Path, reporter: Reporter) -> None:
    config, forget_texts = plan.config, [document.as_text() for document in forget.documents]
    judgement: Judgement | None = None
    with reporter.task("Base model writes texts") as progress:
        model = load_causal_lm(
            plan.checkpoint.path,
            device=plan.device,
            dtype=plan.dtype,
            trust_remote_code=config.model.trust_remote_code,
            streamed=must_stream(plan.checkpoint, plan.device, plan.dtype, config.model.memory_gb),
        )
        if source == NEAR:
            near = write_near_texts(model, plan.tokenizer, forget_texts, seed=config.training.seed, progress=progress)
            texts = [*near.siblings, *near.unanswered, *near.elsewhere]
            judgement = near.judgement
            if not texts:
                raise InputError(
                    "--retain near found nothing near the forget texts: they have no rare names, or the base "
                    "model has nothing to say of others. Leave it out, and give texts about others of the same kind."
                )
        else:
            texts = write_self_texts(
                model,
                plan.tokenizer,
                rows=config.data.num_self_written,
                tokens=SELF_TOKENS,
                seed=config.training.seed,
                forget_texts=forget_texts,
                progress=progress,
                batch=rows_at_once(model, 2 * SELF_TOKENS, SELF_BATCH),
            )
    file.parent.mkdir(parents=True, exist_ok=True)
    if judgement is not None:
        # First: texts that are there have been judged.
        write_json_atomic(_judgement_file(file), to_json(judgement), private=True)
    write_atomic(file, "".join(json.dumps({"text": text}) + "\n" for text in texts).encode(), private=True)


def _judgement_file(file: Path) -> Path:
    """Beside texts in the cache: how many were made, and what became of them."""
    return file.with_suffix(".json")


def join_rows(parts: Sequence[TokenRows]) -> TokenRows:
    """Rows of several corpora, one after another."""
    return TokenRows(
        tuple(row for part in parts for row in part.token_ids),
        tuple(document for part in parts for document in part.document_ids),
    )


def public_name(source: str) -> str:
    """A source without the folders of the machine it lay on."""
    return ", ".join(part if part.startswith(HUB) else Path(part.strip()).name for part in source.split(","))


def _record(topic: str, role: Literal["forget", "retain"], corpus: Corpus, split: SplitRows) -> DataRecord:
    parts = (split.train, split.heldout)
    return DataRecord(
        topic=topic,
        role=role,
        source=public_name(corpus.source),
        sha256=corpus.sha256,
        documents=len(corpus.documents),
        rows=sum(len(part) for part in parts),
        tokens=sum(sum(part.lengths) for part in parts),
        dropped=corpus.num_dropped + split.train.num_dropped,
    )
