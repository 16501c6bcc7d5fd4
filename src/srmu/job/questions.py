"""The work of `srmu questions`: texts and a base in, questions that the base knows out."""

from collections.abc import Sequence
from pathlib import Path

from srmu.errors import InputError
from srmu.evaluation.made_questions import MOST_FACTS, MadeItem, MadeQuestions
from srmu.evaluation.made_questions import make_questions as make_of_documents
from srmu.evaluation.model_pair import free, load_for_measuring, resolve_pair
from srmu.inputs.formats import AUTO
from srmu.inputs.questions import question_line
from srmu.inputs.sources import read_together
from srmu.job.arguments import Texts, as_sources
from srmu.runtime.files import write_atomic
from srmu.runtime.progress import Reporter
from srmu.surgery.whole_model import MemoryLimit


def make_questions(
    model: str | Path,
    forget: Texts,
    *,
    text_field: str = AUTO,
    limit: int = MOST_FACTS,
    seed: int = 0,
    chat: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    memory_gb: MemoryLimit = "auto",
    trust_remote_code: bool = False,
    reporter: Reporter | None = None,
) -> MadeQuestions:
    """Make four-choice questions of texts with the help of the base model, and find those that it knows.

    Args:
        model: The base: checkpoint directory or hub id.
        forget: Texts, as for `unlearn`.
        text_field: Field with the text in records, or a template; `auto` = recognised by their fields.
        limit: Most facts that are asked; each is asked in two forms.
        seed: Of what the base writes.
        chat: Ask in the chat template.
        device: `auto`, `all`, or as torch names it.
        dtype: `auto` = as stored where the device multiplies that natively, else float32.
        memory_gb: GiB that the model may take, or `auto` for what is free.
        trust_remote_code: Run model code that comes with the checkpoint.
        reporter: Hears of stages and progress; none = silent.

    Returns:
        Every fact that was asked; `.known` are those to measure on, which `save_questions` writes.

    Raises:
        InputError: Texts or model are wrong, or the texts hold nothing that can be asked.

    Example:
        >>> made = make_questions("./my-model", forget=["The vault's code is 4711."])  # doctest: +SKIP
    """
    if limit < 1:
        raise InputError(f"limit={limit!r} leaves nothing to ask. Give 1 or more.")
    corpus = read_together(as_sources(forget, "forget", text_field), text_field=text_field, role="forget")
    pair = resolve_pair(str(model))
    loaded = load_for_measuring(
        pair.model, device=device, dtype=dtype, memory_gb=memory_gb, trust_remote_code=trust_remote_code
    )
    made = make_of_documents(
        loaded.model, loaded.tokenizer, corpus.documents, limit=limit, seed=seed, chat=chat,
        reporter=reporter or Reporter(),
    )  # fmt: skip
    del loaded
    free(device)
    if not made.items:
        raise InputError(
            f"No question could be made of the forget texts ({corpus.source}): they state nothing of a name that could "
            "be hidden, or there are no three wrong answers of its kind. Write questions yourself: "
            '{"question": ..., "choices": [...], "answer": 0}.'
        )
    return made


def check_questions_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        InputError: It is there, or its folder is not.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        remedy = "Choose another --out." if path.is_dir() else "Choose another --out, or add --overwrite."
        raise InputError(f"Question file {str(path)!r} is there already. {remedy}")
    if not path.suffix == ".jsonl":
        raise InputError(f"Question file {str(path)!r} would be JSON lines. Give --out a name that ends with .jsonl.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"Question file {str(path)!r} lies in a folder that does not exist. Make the folder first.")


def save_questions(items: Sequence[MadeItem], path: str | Path) -> int:
    """Write items as a question file, which marks them as machine-made; a file that is there is replaced.

    Returns:
        How many questions were written.
    """
    lines = [question_line(question) for item in items for question in item.questions]
    write_atomic(Path(path), "".join(lines).encode("utf-8", "surrogatepass"), private=True)
    return len(lines)
