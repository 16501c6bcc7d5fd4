"""Prompts answered by a base and a result side by side."""

from collections.abc import Sequence
from pathlib import Path

from srmu.errors import InputError
from srmu.evaluation.completions import complete
from srmu.evaluation.model_pair import free, load_for_measuring, resolve_pair
from srmu.inputs.jsonl import parse_line
from srmu.inputs.limits import checked_text
from srmu.results.records import Answer
from srmu.runtime.progress import Reporter
from srmu.runtime.regular import read_regular
from srmu.surgery.whole_model import MemoryLimit, rows_at_once


def ask(
    model: str,
    prompts: Sequence[str],
    *,
    base: str | None = None,
    chat: bool = False,
    max_new_tokens: int = 64,
    device: str = "auto",
    dtype: str = "auto",
    memory_gb: MemoryLimit = "auto",
    trust_remote_code: bool = False,
    reporter: Reporter | None = None,
) -> list[Answer]:
    """Let models continue prompts with their most likely tokens.

    Args:
        model: Checkpoint directory, hub id, or a finished run directory: then its base answers too.
        prompts: At least one.
        base: Checkpoint directory, hub id or run directory.
        chat: Ask in the chat template.
        max_new_tokens: Most tokens of an answer.
        device: `auto`, `all`, or as torch names it.
        dtype: `auto` = as stored where the device multiplies that natively, else float32.
        memory_gb: GiB that a model may take, or `auto` for what is free; beyond, its layers are read from disk for
            every token.
        trust_remote_code: Run model code that comes with the checkpoint.
        reporter: Hears of stages and progress.

    Returns:
        One per prompt, in order. Nothing is stored.

    Raises:
        InputError: Anything asked for is wrong.
    """
    reporter = reporter or Reporter()
    if not prompts:
        raise InputError("No prompt was given. Write --prompt TEXT or --prompts FILE.")
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens={max_new_tokens!r} leaves no room for an answer. Give 1 or more.")
    prompts = [checked_text(prompt, f"prompt {number}") for number, prompt in enumerate(prompts, 1)]
    pair = resolve_pair(model, base)
    written: dict[str, list[str]] = {}
    for name, path in (("base", pair.base), ("result", pair.model)):
        if path is None:
            continue
        loaded = load_for_measuring(
            path, device=device, dtype=dtype, memory_gb=memory_gb, trust_remote_code=trust_remote_code
        )
        with reporter.task(f"Answers of the {name}") as progress:
            written[name] = complete(
                loaded.model,
                loaded.tokenizer,
                prompts,
                max_new_tokens=max_new_tokens,
                chat=chat,
                batch_rows=rows_at_once(loaded.model, max_new_tokens + 256, 32),
                progress=progress,
            )
        del loaded
        free(device)
    bases = written.get("base", [None] * len(prompts))
    return [Answer(*answer) for answer in zip(prompts, written["result"], bases, strict=True)]


def read_prompts(path: str | Path) -> list[str]:
    """Read prompts: of `.jsonl` the strings, or the `prompt` or `question` of objects; of other files every line.

    Raises:
        InputError: Naming the file and the line.
    """
    path = Path(path)
    try:
        lines = read_regular(path).decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"Prompt file {str(path)!r} cannot be read: {reason}. Give a text or JSONL file.") from None
    numbered = [(number, line.rstrip("\r")) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"Prompt file {str(path)!r} holds no prompt. Write one per line.")
    if path.suffix != ".jsonl":
        return [line for _, line in numbered]
    return [_parse(line, f"{str(path)!r}, line {number}") for number, line in numbered]


def _parse(line: str, place: str) -> str:
    record = parse_line(line, place)
    prompt = record.get("prompt", record.get("question")) if isinstance(record, dict) else record
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f"{place}: a prompt must be a text, or an object with 'prompt'; found {record!r}.")
    return prompt
