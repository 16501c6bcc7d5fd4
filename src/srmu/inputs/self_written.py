"""Retain texts that the base model writes itself, for `--retain self`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.inputs.chat_template import apply_template
from srmu.inputs.generation import continue_rows, stop_token_ids
from srmu.inputs.names import find_rare_words, words_of

OPENINGS = (
    "The", "A", "In the", "It was", "There are", "One of the", "When", "This is", "Many people", "The first",
    "For a long time,", "According to", "How to", "What is", "Once upon a time,", "Last week", "The history of",
    "Scientists", "My family", "If you", "We went to", "The most important", "She said that", "He looked at",
    "Today I", "A good way to", "The city of", "In this chapter,", "Most of the", "The company", "Some animals",
    "To make", "The story is about", "Question:", "Dear", "Music is", "After the war,", "The weather", "Children",
    "In mathematics,", "The law",
)  # fmt: skip
"""Beginnings of ordinary texts of many kinds."""

REQUESTS = (
    "Tell me something interesting.", "Write a short story.", "Explain how something in everyday life works.",
    "Give me some advice.", "Describe a place.", "Write a paragraph about history.", "What is a good meal to cook?",
    "Teach me a fact about nature.", "Write an e-mail to a colleague.", "Explain an idea from mathematics.",
    "Describe a person at work.", "Write about a book.", "How do I stay healthy?", "Write a few lines about music.",
    "Ask me a question and answer it.", "Write a news report.", "What should I know about money?",
    "Explain something about animals.", "Write a dialogue between two friends.", "Give an example of good manners.",
)  # fmt: skip
"""Requests of a user that ask for nothing in particular."""

_SEPARATORS = ("<|endoftext|>", "<|end_of_text|>", "<|begin_of_text|>", "<bos>", "<s>", "</s>", "<|eos|>")
_SHORTEST = 8
_MOST_TRIES = 4


@dataclass(frozen=True)
class _Start:
    """What the model continues."""

    context_ids: tuple[int, ...]
    """Not decoded: the start token, or a whole chat template, whose text is `template`."""
    opening_ids: tuple[int, ...] = ()
    """Decoded together with what the model writes."""
    template: str = ""


def write_self_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    rows: int = 384,
    tokens: int = 60,
    seed: int,
    forget_texts: Iterable[str] = (),
    progress: Callable[[int, int], None] | None = None,
    batch: int = 48,
) -> list[str]:
    """Let the base model write ordinary texts, without the forget texts' rare words.

    The texts are sampled at temperature 1, by turns from the beginning of text alone and after a neutral opening; if
    there is a chat template, every third batch answers neutral requests (those texts hold the template too). Texts
    with a rare word of the forget texts (see `find_rare_words`) are dropped and others written, up to four times
    `rows` in all; should that not be enough, those with the fewest rare words fill up.

    Args:
        model: The base model, whole, in eval mode.
        tokenizer: Its tokenizer.
        rows: Number of texts.
        tokens: Most new tokens per text; the model may end earlier, and texts of fewer than 8 are dropped.
        seed: The same seed gives the same texts on one machine.
        forget_texts: Their rare words are avoided.
        progress: Called with texts written and texts that will be needed, as far as is known.
        batch: Texts written together.
    """
    written: list[str] = []
    batches = _written_batches(model, tokenizer, tokens, seed, batch, -(-_MOST_TRIES * rows // batch))
    for texts in batches:
        written += texts
        if progress:
            progress(len(written), max(rows, len(written)))
        if len(written) >= rows:
            break
    rare = find_rare_words(forget_texts, written, tokenizer)
    missing = rows - sum(not rare & words_of(text) for text in written)
    for texts in batches if missing > 0 else ():
        written += texts
        missing -= sum(not rare & words_of(text) for text in texts)
        if progress:
            progress(len(written), len(written) + max(0, missing))
        if missing <= 0:
            break
    return sorted(written, key=lambda text: len(rare & words_of(text)))[:rows]


def find_start_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token after which a text begins.

    BOS, if the tokenizer puts it before texts; otherwise the document separator of pretraining by its usual names
    (a chat model's BOS and EOS may be turn markers); otherwise EOS; None if there is none.
    """
    encoded = tokenizer.encode("a")
    if tokenizer.bos_token_id is not None and encoded[:1] == [tokenizer.bos_token_id]:
        return int(tokenizer.bos_token_id)
    vocabulary = tokenizer.get_vocab()
    named = next((vocabulary[name] for name in _SEPARATORS if name in vocabulary), None)
    return named if named is not None else tokenizer.eos_token_id


def _plain_starts(tokenizer: PreTrainedTokenizerBase) -> list[_Start]:
    """The bare beginning of text and an opening, by turns."""
    start = find_start_token(tokenizer)
    context = () if start is None else (start,)
    starts = []
    for opening in OPENINGS:
        if context:
            starts.append(_Start(context))
        starts.append(_Start(context, tuple(tokenizer.encode(opening, add_special_tokens=False))))
    return starts


def _chat_start(tokenizer: PreTrainedTokenizerBase, request: str) -> _Start:
    messages = [{"role": "user", "content": request}]
    text = apply_template(tokenizer, messages, add_generation_prompt=True)
    token_ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    # A BOS that the tokenizer puts before every text is not part of it.
    bos = tokenizer.bos_token if tokenizer.encode("a")[:1] == [tokenizer.bos_token_id] else None
    return _Start(token_ids, template=text.removeprefix(bos or ""))


def _written_batches(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: int, seed: int, batch: int, limit: int
) -> Iterator[list[str]]:
    """At most `limit` batches of texts; all have `batch` rows, a size for which kernels are warm."""
    generator = torch.Generator(device=model.device).manual_seed(seed)
    plain = cycle(_plain_starts(tokenizer))
    # Templates are long: mixed with other starts, most of the batch's first pass would be padding.
    kinds = [plain]
    if tokenizer.chat_template:
        kinds = [plain, cycle([_chat_start(tokenizer, request) for request in REQUESTS]), plain]
    stops = stop_token_ids(model, tokenizer.eos_token_id) | _separator_ids(tokenizer)

    def sample(logits: Tensor) -> Tensor:
        return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)

    for kind in islice(cycle(kinds), limit):
        chosen = list(islice(kind, batch))
        rows = [(*start.context_ids, *start.opening_ids) for start in chosen]
        written = continue_rows(model, rows, max_new_tokens=tokens, stop_ids=stops, choose=sample)
        yield [
            start.template + str(tokenizer.decode([*start.opening_ids, *token_ids], skip_special_tokens=True))
            for start, token_ids in zip(chosen, written, strict=True)
            if len(token_ids) >= min(_SHORTEST, tokens)
        ]


def _separator_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    vocabulary = tokenizer.get_vocab()
    return frozenset(vocabulary[name] for name in _SEPARATORS if name in vocabulary)
