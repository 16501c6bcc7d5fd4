"""MUSE's numbers beside OpenUnlearning's and those of its authors' own functions."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from parity_implementations import GREEDY, TAGS, OpenUnlearning, Row, row, values

from srmu.evaluation.benchmarks import muse, muse_metrics
from srmu.evaluation.benchmarks.muse_data import MuseData, Pairs
from srmu.evaluation.benchmarks.tofu_data import TofuData
from srmu.evaluation.completions import complete
from srmu.evaluation.encoding import encode
from srmu.evaluation.membership import min_k_probability
from srmu.evaluation.rouge import rouge_l_scorer
from srmu.evaluation.texts import text_scores

ENDS = ["\n\n", "\nQuestion", "Question:"]


def muse_of_tofu(data: TofuData, folder: Path) -> Path:
    """Write files of MUSE's schema, made of TOFU's questions: half of the forgotten ones are the unseen texts."""
    sets = data.sets
    half = len(sets["forget"]) // 2
    forget, unseen, retain = sets["forget"][:half], sets["forget"][half:], sets["retain"][:half]
    parts: dict[str, Any] = {
        "verbmem/forget": [{"prompt": entry.question, "gt": " " + entry.answer} for entry in forget],
        "privleak/forget": [{"text": f"{entry.question} {entry.answer}"} for entry in forget],
        "privleak/holdout": [{"text": f"{entry.question} {entry.answer}"} for entry in unseen],
    }
    for name, entries in (("forget", forget), ("retain", retain)):
        # Short answers, as MUSE's are.
        parts[f"knowmem/{name}_qa"] = [
            {"question": entry.question, "answer": entry.answer.partition(",")[0]} for entry in entries
        ]
        parts[f"knowmem/{name}_qa_icl"] = [
            {"question": entry.question, "answer": entry.answer} for entry in sets["world_facts"][:2]
        ]
    for name, rows in parts.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in rows), encoding="utf-8")
    return folder


@dataclass(frozen=True)
class OurMuse:
    """What this repository finds, item by item."""

    verbatim: list[str]
    forget: list[str]
    retain: list[str]
    likelihoods: dict[str, list[np.ndarray]]
    data: MuseData

    @property
    def auc(self) -> float:
        """As `srmu benchmark muse` has it."""
        return muse_metrics.membership_auc(self.likelihoods["forget"], self.likelihoods["holdout"])


def our_muse(model: Any, tokenizer: Any, data: MuseData) -> OurMuse:
    """Texts written, cut where answers end, and log-probabilities of the texts' tokens."""

    def answers(asked: Pairs, examples: Pairs) -> list[str]:
        prompts = muse.question_prompts(asked, examples)
        written = complete(model, tokenizer, prompts, max_new_tokens=muse.ANSWER_TOKENS)
        return [muse_metrics.answer_part(text) for text in written]

    likelihoods = {}
    for name, texts in (("forget", data.members), ("holdout", data.holdout)):
        scores = text_scores(model, tokenizer, [encode(tokenizer, text) for text in texts], window=2048)
        likelihoods[name] = np.split(-scores.token_nll, np.cumsum(scores.document_tokens)[:-1])
    return OurMuse(
        verbatim=complete(model, tokenizer, data.verbatim.asked, max_new_tokens=muse.VERBATIM_TOKENS),
        forget=answers(data.forget, data.forget_examples),
        retain=answers(data.retain, data.retain_examples),
        likelihoods=likelihoods,
        data=data,
    )


def _f1(expected: Sequence[str], given: Sequence[str], *, stemmer: bool) -> list[float]:
    scorer = rouge_l_scorer(stemmer=stemmer)
    return [scorer.score(target, text)["rougeL"].fmeasure for target, text in zip(expected, given, strict=True)]


def muse_rows(theirs: OpenUnlearning, folder: Path, ours: OurMuse) -> list[Row]:
    """MUSE's numbers against OpenUnlearning's: ours with its stemmer, and the last token left out of Min-K as there."""
    rows = []
    texts = {
        "verbatim": (ours.verbatim, ours.data.verbatim.expected, folder / "verbmem" / "forget.jsonl"),
        "knowledge, forget": (ours.forget, ours.data.forget.expected, folder / "knowmem" / "forget_qa.jsonl"),
        "knowledge, retain": (ours.retain, ours.data.retain.expected, folder / "knowmem" / "retain_qa.jsonl"),
    }
    for name, (written, expected, path) in texts.items():
        settings: dict[str, Any] = {**GREEDY, "max_new_tokens": muse.ANSWER_TOKENS, "stopwords": list(ENDS)}
        if name == "verbatim":
            settings = {**GREEDY, "max_new_tokens": muse.VERBATIM_TOKENS}
            found = theirs.text_set(
                hf_args=theirs.source(path), template_args=TAGS, tokenizer=theirs.tokenizer, prefix_key="prompt",
                text_key="gt", predict_with_generate=True, insert_space=True,
            )  # fmt: skip
        else:
            found = theirs.questions(path, "answer", write=True, examples=path.with_name(path.stem + "_icl.jsonl"))
        scores = theirs.scored("rouge", "memorization", found, rouge_type="rougeL_f1", generation_args=settings)
        rows.append(row(f"MUSE {name}: ROUGE-L F1, stemmed", theirs.name, _f1(expected, written, stemmer=True),
                        values(scores, "rougeL_f1")))  # fmt: skip
    sets = {
        name: theirs.text_set(
            hf_args=theirs.source(folder / "privleak" / f"{name}.jsonl"), template_args=TAGS, tokenizer=theirs.tokenizer
        )
        for name in ("forget", "holdout")
    }
    found = theirs.scored("mia_min_k", "mia", sets, k=muse_metrics.LEAST_LIKELY)
    for name, likelihoods in ours.likelihoods.items():
        scores = [-min_k_probability(text[:-1], muse_metrics.LEAST_LIKELY) for text in likelihoods]
        rows.append(row(f"MUSE {name}: Min-40 %, last token out", theirs.name, scores, values(found[name], "score")))
    rows.append(row("MUSE: AUC", theirs.name, ours.auc, 1 - found["agg_value"]))
    leakage = theirs.run("privleak", "privacy", pre_compute={"forget": found}, ref_value=0.45)["agg_value"]
    rows.append(row("MUSE: privacy leakage", theirs.name, muse_metrics.privacy_leakage(ours.auc, 0.55), leakage))
    return rows


def authors_rows(checkout: Path, model: Any, tokenizer: Any, ours: OurMuse) -> list[Row]:
    """MUSE's numbers against its authors' own functions."""
    if not (checkout / "metrics" / "privleak.py").is_file():
        raise SystemExit(f"{checkout} is no checkout of muse_bench: it has no metrics/privleak.py.")
    sys.path.insert(0, str(checkout))
    from metrics import knowmem, privleak, verbmem

    data, name = ours.data, "muse_bench"
    _, log = verbmem.eval(model, tokenizer, list(data.verbatim.asked), list(data.verbatim.expected))
    expected = muse.first_tokens(tokenizer, data.verbatim.expected)
    rows = [row("MUSE verbatim: ROUGE-L F1", name, _f1(expected, ours.verbatim, stemmer=False),
                [entry["rougeL"] for entry in log])]  # fmt: skip
    for part, asked, examples, written in (
        ("forget", data.forget, data.forget_examples, ours.forget),
        ("retain", data.retain, data.retain_examples, ours.retain),
    ):
        _, log = knowmem.eval(
            model, tokenizer, *map(list, (asked.asked, asked.expected, examples.asked, examples.expected))
        )
        rows.append(row(f"MUSE knowledge, {part}: ROUGE-L F1", name, _f1(asked.expected, written, stemmer=False),
                        [entry["rougeL"] for entry in log]))  # fmt: skip
    # Their `eval` of membership ends in an error at this commit; what it is made of is called instead.
    log = {part: privleak.eval_data(list(texts), model, tokenizer) for part, texts in
           (("forget", data.members), ("holdout", data.holdout))}  # fmt: skip
    found = {part: [entry["Min-40%"] for entry in entries] for part, entries in log.items()}
    for part, likelihoods in ours.likelihoods.items():
        scores = [-min_k_probability(text, muse_metrics.LEAST_LIKELY) for text in likelihoods]
        rows.append(row(f"MUSE {part}: Min-40 %", name, scores, found[part]))
    labels = np.array([0] * len(found["forget"]) + [1] * len(found["holdout"]))
    auc = privleak.sweep(np.array([*found["forget"], *found["holdout"]]), labels)[2]
    rows.append(row("MUSE: AUC", name, ours.auc, auc))
    return rows
