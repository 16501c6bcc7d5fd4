"""What `srmu unlearn --dry-run` predicts of memory, against what runs take: docs/background/performance.md.

    python benchmarks/memory_model.py --shapes small wide --folder /some/disk

For each shape a random Llama checkpoint in bfloat16 is made. Then a run without measuring, and a measuring of questions
and texts, once with all that is free and once with a limit that neither fits; each in a process of its own on the CPU,
whose anonymous resident memory is sampled 200 times a second. The last line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

WORDS = [f"word{number}" for number in range(400)]
# Hidden size, intermediate size, layers, heads, key/value heads, vocabulary.
SHAPES = {
    "small": (576, 1536, 30, 9, 3, 49152),
    "deep": (512, 1408, 48, 8, 8, 32000),
    "wide": (1536, 4096, 12, 12, 4, 32000),
    "large": (2048, 5632, 22, 32, 4, 32000),
}


def write_checkpoint(shape: Sequence[int], folder: Path) -> None:
    """A random checkpoint and a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    hidden, intermediate, layers, heads, kv_heads, vocabulary = shape
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, vocab_size=vocabulary, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="500MB")
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>").save_pretrained(folder)


def write_texts(folder: Path) -> None:
    """Texts of 128 words, and questions."""
    texts = [" ".join(WORDS[(7 * number + i) % len(WORDS)] for i in range(128)) for number in range(64)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    questions = [
        {"question": text[:200], "choices": WORDS[number : number + 4], "answer": 0}
        for number, text in enumerate(texts)
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))


def peak_of(command: Sequence[str]) -> tuple[float, float]:
    """Peak anonymous resident memory of a command in MB, and its seconds."""
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))])
        except OSError:
            continue
        time.sleep(0.005)
    if process.returncode:
        raise SystemExit(process.stderr.read().decode() if process.stderr else "a command failed")
    return peak * 1024 / 1e6, time.perf_counter() - started


def measure(shape: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Prediction and measurement of a shape, in memory and from disk."""
    model, texts = folder / "model", folder / "texts.jsonl"
    write_checkpoint(shape, model)
    write_texts(folder)
    srmu = [sys.executable, "-m", "srmu"]
    found = []
    for place, limit in (("memory", "auto"), ("disk", "0.01")):
        run = [
            *srmu, "unlearn", str(model), "--forget", str(texts), "--retain", str(texts), "--steps", "3", "--memory-gb",
            limit, "--device", "cpu", "--max-length", "128",
        ]  # fmt: skip
        predicted = json.loads(subprocess.run([*run, "--dry-run", "--json"], check=True, capture_output=True).stdout)
        training, seconds = peak_of([*run, "--no-eval", "--out", str(folder / f"run-{place}")])
        evaluate = [
            *srmu, "evaluate", str(model), "--questions", f"asked={folder / 'questions.jsonl'}", "--texts",
            f"read={texts}", "--memory-gb", limit, "--device", "cpu",
        ]  # fmt: skip
        measuring, measuring_seconds = peak_of(evaluate)
        found.append(
            {
                "layers": place,
                "training_predicted_mb": round(predicted["training_mb"]),
                "training_mb": round(training),
                "training_seconds": round(seconds, 1),
                "measuring_predicted_mb": round(predicted["measuring_mb"]),
                "measuring_mb": round(measuring),
                "measuring_seconds": round(measuring_seconds, 1),
            }
        )
        print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    """Measure the shapes that were named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["small"])
    parser.add_argument("--folder", type=Path, default=Path("."), help="a folder on the disk to read from")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    results = {}
    for name in arguments.shapes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            results[name] = measure(SHAPES[name], Path(folder))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
