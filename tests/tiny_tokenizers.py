"""Tokenizers made offline, of at most 96 entries, in every kind that srmu must take.

Ids of special tokens agree with the configs in `families.py`.
"""

from typing import Any, Literal

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

Algorithm = Literal["words", "bytes"]
WORD_LIST = """
the a of in is was and to with from river stone cloud harbour lantern copper violet meadow winter signal
market bridge garden window silver thunder valley island engine mirror feather castle forest desert
planet rocket capital city country north south east west red blue green old new small large one two three
four five six runs holds opens closes keeps finds sells builds reads sings . , ? :
"""
WORDS = WORD_LIST.split()
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "<user>", "<model>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<user> ' if message['role'] == 'user' else '<model> ' }}{{ message['content'] + ' ' + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<model> ' }}{% endif %}"
)
TOKENIZERS: dict[str, dict[str, Any]] = {
    "words": {},
    "bytes": {"algorithm": "bytes"},
    "bytes_no_bos": {"algorithm": "bytes", "adds_bos": False},
    "no_bos": {"adds_bos": False},
    "no_pad": {"has_pad": False},
    "left": {"padding_side": "left"},
    "chat": {"chat": True},
    "no_bos_no_pad_left": {"adds_bos": False, "has_pad": False, "padding_side": "left"},
}


def make_tokenizer(
    *,
    algorithm: Algorithm = "words",
    adds_bos: bool = True,
    has_pad: bool = True,
    padding_side: Literal["left", "right"] = "right",
    chat: bool = False,
) -> PreTrainedTokenizerFast:
    """An offline tokenizer of at most 96 entries.

    Args:
        algorithm: Whole words, others as `<unk>`; or byte BPE of the word list, which drops other bytes.
        adds_bos: Put `<s>` before every encoded text.
        has_pad: Name `<pad>` as the padding token; its id 0 exists either way.
        padding_side: As in Transformers.
        chat: Give it a chat template (which writes `<s>` itself).
    """
    core = _word_tokenizer() if algorithm == "words" else _byte_tokenizer()
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", core.token_to_id("<s>"))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>" if has_pad else None,
        padding_side=padding_side,
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<user>", "<model>"]})
    tokenizer.chat_template = CHAT_TEMPLATE if chat else None
    return tokenizer


def _word_tokenizer() -> Tokenizer:
    vocabulary = {token: token_id for token_id, token in enumerate((*SPECIAL_TOKENS, *WORDS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return core


def _byte_tokenizer() -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=90, special_tokens=list(SPECIAL_TOKENS), show_progress=False, initial_alphabet=[]
    )
    core.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    return core
