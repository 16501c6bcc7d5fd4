"""Will these texts do? What `srmu doctor` says of them before any training: ten verdicts, each with its remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from srmu.config.settings import UnlearnConfig
from srmu.config.sources import WRITTEN
from srmu.errors import InputError
from srmu.evaluation.made_questions import BY_CHANCE, CHANCE, MadeQuestions, make_questions
from srmu.evaluation.model_pair import load_for_measuring, resolve_pair
from srmu.inputs.corpora import Corpus
from srmu.inputs.near_duplicates import most_alike, near_duplicates
from srmu.inputs.overlap import overlap, same_documents
from srmu.inputs.sides import MOST_SHARED
from srmu.inputs.sources import read_apart, read_together
from srmu.job.overlap import NEAR_DUPLICATE, SOME, STRONG
from srmu.runtime.progress import Reporter
from srmu.runtime.stable_order import stable_rank

State = Literal["ok", "warn", "bad"]
ENOUGH_TEXTS, LEAST_TEXTS = 16, 4
"""Held-out texts and a batch's rows come from them (`job/overlap.py`: 16 texts for a number to be trusted)."""
SHORT_TOKENS = 8
"""A row needs some tokens before the one that is forgotten: the first is never pushed."""
MOST_ALIKE, FEW_FACTS, LITTLE_KNOWN = 0.5, 10, 0.6
FACTS_ASKED = 40
_COMPARED = 300
"""Documents, drawn at random, that are compared with each other."""


@dataclass(frozen=True)
class Verdict:
    """One line of the doctor's.

    Attributes:
        name: What was looked at.
        state: `ok`; `warn`: it will be worse for it; `bad`: it will not do.
        found: What was found.
        remedy: What to do; empty where nothing is to be done.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def check_texts(config: UnlearnConfig, *, reporter: Reporter) -> list[Verdict]:
    """The verdicts on a run's texts; the model is loaded and asked what it knows of them.

    Args:
        config: Model and texts; of several topics their texts together.
        reporter: Hears of stages.

    Raises:
        InputError: Model or texts cannot be read.
    """
    forget, retain, written = _read(config)
    texts = [document.as_text() for document in forget.documents]
    kept = [document.as_text() for corpus in retain for document in corpus.documents]
    model = config.model
    loaded = load_for_measuring(
        resolve_pair(model.model).model, device=model.device, dtype=model.dtype, memory_gb=model.memory_gb,
        trust_remote_code=model.trust_remote_code,
    )  # fmt: skip
    made = make_questions(
        loaded.model, loaded.tokenizer, forget.documents, limit=FACTS_ASKED, seed=config.training.seed,
        chat=config.data.chat, reporter=reporter,
    )  # fmt: skip
    return [
        Verdict("read", "ok", forget.read_as or f"{len(texts)} texts"),
        _number(texts),
        _length(texts, loaded.tokenizer, config.data.max_length),
        _alike(texts),
        _retain_number(texts, kept, written),
        _in_both(texts, kept),
        _near(texts, kept),
        _facts(made),
        _known(made),
    ]


def _read(config: UnlearnConfig) -> tuple[Corpus, tuple[Corpus, ...], tuple[str, ...]]:
    data = config.data
    forget = [*data.forget, *(source for topic in data.topics for source in topic.forget)]
    retain = [*data.retain, *(source for topic in data.topics for source in topic.retain)]
    if not forget:
        raise InputError("Texts to forget were not given. Name them with --forget PATH.")
    return (
        read_together(forget, text_field=data.text_field, role="forget"),
        read_apart(retain, text_field=data.text_field, role="retain"),
        tuple(source for source in WRITTEN if source in retain),
    )


def _number(texts: Sequence[str]) -> Verdict:
    found, remedy = f"{len(texts)} to forget", f"Say the same in other sentences, {ENOUGH_TEXTS} texts or more."
    if len(texts) >= ENOUGH_TEXTS:
        return Verdict("number of texts", "ok", found)
    return Verdict("number of texts", "bad" if len(texts) < LEAST_TEXTS else "warn", f"{found}: few", remedy)


def _length(texts: Sequence[str], tokenizer: Any, max_length: int) -> Verdict:
    lengths = [len(tokenizer(text, verbose=False)["input_ids"]) for text in texts]
    middle, split = round(median(lengths)), sum(length > max_length for length in lengths)
    found = f"{middle} tokens in the median" + (f"; {split} are split into rows of {max_length}" if split else "")
    if middle >= SHORT_TOKENS:
        return Verdict("length", "ok", found)
    return Verdict(
        "length", "bad" if middle < SHORT_TOKENS // 2 else "warn", f"{found}: short",
        "Give whole sentences, or join them with --short-documents pack.",
    )  # fmt: skip


def _alike(texts: Sequence[str]) -> Verdict:
    chosen = _some(texts)
    alike = sum(similarity >= NEAR_DUPLICATE for similarity in most_alike(chosen)) / len(chosen)
    found = f"{100 * alike:.0f} % say nearly what another says, word for word"
    if alike <= MOST_ALIKE:
        return Verdict("variety", "ok", found)
    return Verdict("variety", "warn", found, "Say it in other words: what repeats is forgotten as a phrase.")


def _retain_number(texts: Sequence[str], kept: Sequence[str], written: Sequence[str]) -> Verdict:
    found = " + ".join([*([f"{len(kept)} texts"] if kept else []), *written])
    if not found:
        return Verdict(
            "texts to retain", "warn", "none: the model writes ordinary ones",
            "What is like the forget texts is lost with them. Give texts on others of the kind, or --retain near.",
        )  # fmt: skip
    if written or len(kept) >= len(texts):
        return Verdict("texts to retain", "ok", found)
    return Verdict(
        "texts to retain", "warn", f"{found}, fewer than to forget", "Give as many, or add --retain general."
    )


def _in_both(texts: Sequence[str], kept: Sequence[str]) -> Verdict:
    name = "in both"
    same = set(same_documents(texts, kept))
    try:
        near = {pair.forget for pair in near_duplicates(texts, kept, threshold=NEAR_DUPLICATE)} - same
        found = f"{len(same)} of {len(texts)} are retain texts too, {len(near)} nearly"
    except InputError:  # the package that finds them is optional
        near, found = set(), f"{len(same)} of {len(texts)} are retain texts too"
    if not same and not near:
        return Verdict(name, "ok", found)
    return Verdict(
        name, "bad" if len(same) > MOST_SHARED * len(texts) else "warn", found,
        "Take each out of one of the two; srmu overlap names them.",
    )  # fmt: skip


def _near(texts: Sequence[str], kept: Sequence[str]) -> Verdict:
    name = "nearness"
    if not kept:
        return Verdict(name, "warn", "no retain texts to compare", "Give texts in the same sentence forms to --retain.")
    shared = overlap(texts, kept).jaccard
    found = f"{100 * shared:.0f} % of all words are on both sides"
    if shared < SOME:
        remedy = "They hardly protect what lies next to it. Add texts in the same sentence forms about others."
        return Verdict(name, "warn", found, remedy)
    if shared >= STRONG:
        return Verdict(name, "ok", f"{found}: entangled", "Measure what must stay with questions of its own.")
    return Verdict(name, "ok", found)


def _facts(made: MadeQuestions) -> Verdict:
    found = f"{made.found} facts in them can be asked"
    if made.found >= FEW_FACTS:
        return Verdict("questions", "ok", found, "srmu questions writes them to a file.")
    return Verdict(
        "questions", "warn", f"{found}: few", "Write questions yourself: the loss on texts alone says little."
    )


def _known(made: MadeQuestions) -> Verdict:
    total, known = len(made.items), len(made.known)
    if CHANCE**total >= BY_CHANCE:
        remedy = "Whether there is anything to forget, questions of your own will say."
        return Verdict("known to the model", "warn", f"{total} facts could be asked: too few to tell", remedy)
    found = f"{known} of {total} facts are answered right in both forms (guessing: {CHANCE * total:.0f} at most)"
    if not made.beyond_chance:
        remedy = "The model does not know this: there is nothing to forget. Check the texts and the model."
        return Verdict("known to the model", "bad", found, remedy)
    if known < LITTLE_KNOWN * total:
        return Verdict("known to the model", "warn", found, "What it does not know cannot be seen to be forgotten.")
    return Verdict("known to the model", "ok", found)


def _some(texts: Sequence[str]) -> list[str]:
    return sorted(texts, key=lambda text: stable_rank("doctor", text))[:_COMPARED]
