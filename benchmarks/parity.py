r"""TOFU's and MUSE's numbers beside those of other implementations, item by item, on one checkpoint.

    python benchmarks/parity.py --model CHECKPOINT --gold CHECKPOINT --data TOFU_FOLDER --split forget01 --limit 4 \
        --open-unlearning CHECKOUT --muse-bench CHECKOUT --out benchmarks/results/parity.json

The checkouts are of `locuslab/open-unlearning` (its functions, data sets and collators run as they are, in float32) and
of `swj0419/muse_bench`; neither is part of this repository. Questions are put as OpenUnlearning puts them
(`--space-apart`). MUSE's files are made of TOFU's questions, in MUSE's schema, unless `--muse` names a copy of the data
set. What the differences are, and why, stands in docs/how-to/benchmarks.md.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parity_implementations import GREEDY, OpenUnlearning, Row, row, values
from parity_muse import authors_rows, muse_of_tofu, muse_rows, our_muse

from srmu.evaluation.benchmarks import tofu_metrics
from srmu.evaluation.benchmarks.muse_data import read_muse
from srmu.evaluation.benchmarks.tofu import SetScores, TofuScores, score_gold, score_tofu, set_result
from srmu.evaluation.benchmarks.tofu_data import SET_NAMES, TofuData, file_names, read_tofu
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.runtime.files import write_json_atomic
from srmu.runtime.progress import Reporter

QUIET = Reporter()
AGGREGATORS = {"forget": "closer_to_1_better"}


def tofu_rows(
    theirs: OpenUnlearning, scores: TofuScores, data: TofuData, folder: Path, max_new_tokens: int
) -> tuple[list[Row], Any]:
    """TOFU's nine numbers, utility and memorisation; and their truth ratios of the forget set."""
    rows, nine, forget_ratios = [], [], None
    for name in SET_NAMES:
        path, ours = folder / file_names(data.split)[name], scores.sets[name]
        answer = theirs.scored("probability", "memorization", theirs.questions(path, "answer"))
        right = answer
        if name in ("forget", "retain"):
            right = theirs.scored("probability", "memorization", theirs.questions(path, "paraphrased_answer"))
        wrong = theirs.scored("probability", "memorization", theirs.questions(path, "perturbed_answer"))
        both = {"correct": right, "wrong": wrong}
        ratio = theirs.run(
            "truth_ratio", "memorization", pre_compute=both, aggregator=AGGREGATORS.get(name, "true_better")
        )
        share = answer
        if name in ("real_authors", "world_facts"):
            share = theirs.run("probability_w_options", "memorization", pre_compute=both)
        written = theirs.scored(
            "rouge", "memorization", theirs.questions(path, "answer", write=True), rouge_type="rougeL_recall",
            generation_args={**GREEDY, "max_new_tokens": max_new_tokens},
        )  # fmt: skip
        rows += _set_rows(name, ours, share, ratio, written)
        if name == "forget":
            forget_ratios = ratio
        else:
            nine += [share, written, ratio]
    utility = theirs.run("hm_aggregate", "utility", pre_compute=dict(enumerate(nine)))["agg_value"]
    rows.append(row("model utility", theirs.name, _utility(scores), utility))
    forget = theirs.questions(folder / file_names(data.split)["forget"], "answer")
    for metric in ("extraction_strength", "exact_memorization"):
        found = theirs.scored(metric, "memorization", forget)["agg_value"]
        rows.append(row(metric.replace("_", " "), theirs.name, getattr(scores, metric), found))
    return rows, forget_ratios


def _set_rows(name: str, ours: SetScores, share: Any, ratio: Any, written: Any) -> list[Row]:
    probabilities = tofu_metrics.probability(ours.answer)
    if name in ("real_authors", "world_facts"):
        probabilities = tofu_metrics.choice_probability(ours.answer, ours.wrong)
    mean = set_result(name, ours)  # type: ignore[arg-type]
    return [
        row(f"{name}: probability", OpenUnlearning.name, probabilities, values(share, "prob")),
        row(f"{name}: ROUGE-L recall", OpenUnlearning.name, ours.rouge_l_recall, values(written, "rougeL_recall")),
        row(f"{name}: R_truth", OpenUnlearning.name, tofu_metrics.truth_ratio(ours.right, ours.wrong),
            values(ratio, "score")),
        row(f"{name}: truth ratio", OpenUnlearning.name, mean.truth_ratio, ratio["agg_value"]),
    ]  # fmt: skip


def _utility(scores: TofuScores) -> float:
    sets = [set_result(name, scores.sets[name]) for name in SET_NAMES[1:]]
    return tofu_metrics.model_utility(
        [n for one in sets for n in (one.probability, one.rouge_l_recall, one.truth_ratio)]
    )


def quality_row(theirs: OpenUnlearning, ours: tuple[np.ndarray, np.ndarray], ratios: tuple[Any, Any]) -> Row:
    """Forget quality: a model's truth ratios against another model's."""
    logs = {"retain_model_logs": {"retain": ratios[1]}}
    found = theirs.run("ks_test", "privacy", pre_compute={"forget": ratios[0]}, reference_logs=logs)["agg_value"]
    return row("forget quality", theirs.name, tofu_metrics.forget_quality(*ours).p_value, found)


def gold_ratios(theirs: OpenUnlearning, path: Path) -> Any:
    """Their truth ratios of the forget set under the gold standard."""
    both = {
        key: theirs.scored("probability", "memorization", theirs.questions(path, f"{kind}_answer"))
        for key, kind in (("correct", "paraphrased"), ("wrong", "perturbed"))
    }
    return theirs.run("truth_ratio", "memorization", pre_compute=both, aggregator="closer_to_1_better")


def compare(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Every row that the checkouts allow; one model is in memory at a time."""
    data = read_tofu(arguments.data, arguments.split, limit=arguments.limit)
    prompt = TofuPrompt(space_apart=True)
    folder = arguments.muse or muse_of_tofu(data, work)
    texts = read_muse(folder, "news", limit=arguments.limit)
    tokenizer, model = load_tokenizer(arguments.model), load_causal_lm(arguments.model, dtype=torch.float32)
    rows: list[Row] = []
    muse_found = our_muse(model, tokenizer, texts)
    if arguments.muse_bench:
        rows += authors_rows(arguments.muse_bench, model, tokenizer, muse_found)
    if not arguments.open_unlearning:
        return rows
    scores = score_tofu(model, tokenizer, data, prompt=prompt, max_new_tokens=arguments.max_new_tokens, reporter=QUIET)
    theirs = OpenUnlearning(arguments.open_unlearning, model, tokenizer, arguments.limit)
    found, ratios = tofu_rows(theirs, scores, data, arguments.data, arguments.max_new_tokens)
    rows += [*found, *muse_rows(theirs, folder, muse_found)]
    if arguments.gold is None:
        return rows
    del model, theirs
    tokenizer, model = load_tokenizer(arguments.gold), load_causal_lm(arguments.gold, dtype=torch.float32)
    gold = score_gold(model, tokenizer, data, prompt=prompt, reporter=QUIET)
    theirs = OpenUnlearning(arguments.open_unlearning, model, tokenizer, arguments.limit)
    their_gold = gold_ratios(theirs, arguments.data / file_names(data.split)["forget"])
    rows.append(row("gold standard: R_truth", theirs.name, gold.truth_ratios, values(their_gold, "score")))
    rows.append(quality_row(theirs, (scores.truth_ratios, gold.truth_ratios), (ratios, their_gold)))
    return rows


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--gold", type=Path, help="another checkpoint, for forget quality")
    parser.add_argument("--data", type=Path, required=True, help="folder of TOFU's JSONL files")
    parser.add_argument("--split", default="forget01")
    parser.add_argument("--muse", type=Path, help="MUSE's parts as .jsonl; else they are made of TOFU's questions")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--max-new-tokens", type=int, default=200, help="most tokens of TOFU's written answers")
    parser.add_argument("--open-unlearning", type=Path, help="checkout of locuslab/open-unlearning")
    parser.add_argument("--muse-bench", type=Path, help="checkout of swj0419/muse_bench")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        rows = compare(arguments, Path(work))
    for found in rows:
        print(
            f"{found.metric:44} {found.against:15} {found.ours:12.6f} {found.theirs:12.6f} {found.items:4} items, "
            f"largest difference {found.largest_difference:.1e}"
        )
    if arguments.out:
        about = {
            "model": arguments.model.name,
            "gold": arguments.gold and arguments.gold.name,
            "split": arguments.split,
            "limit": arguments.limit,
            "max_new_tokens": arguments.max_new_tokens,
            "muse": "of TOFU" if arguments.muse is None else "given",
        }
        write_json_atomic(arguments.out, {**about, "rows": [asdict(found) for found in rows]})


if __name__ == "__main__":
    main()
