"""How TOFU's questions are put to a model, and which tokens are the answer."""

from dataclasses import dataclass
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.evaluation.encoding import encode, wrap_in_chat
from srmu.evaluation.prefix_trees import Pair
from srmu.inputs.chat_template import apply_template


@dataclass(frozen=True, kw_only=True)
class TofuPrompt:
    """Tags around question and answer; the defaults are those of the authors' base models (Phi-1.5)."""

    question_start: str = "Question: "
    question_end: str = "\n"
    answer_start: str = "Answer: "
    chat: bool = False
    """Ask in the tokenizer's chat template instead of the tags."""
    space_apart: bool = False
    """Off: a space that ends the prompt belongs to the answer's first token, as in running text. On: the prompt keeps
    it, and the answer is what comes after as many tokens as the prompt alone has, as in OpenUnlearning: a byte-pair
    tokenizer then leaves the answer's first word out of every loss, and generation begins after a lone space."""


def prompt_text(tokenizer: PreTrainedTokenizerBase, prompt: TofuPrompt, question: str) -> str:
    """What the model reads before it answers.

    Raises:
        InputError: The chat form is asked for, and the tokenizer has no chat template.
    """
    if prompt.chat:
        return wrap_in_chat(tokenizer, question)
    text, space = _tagged(prompt, question)
    return text + space if prompt.space_apart else text


def encode_answer(tokenizer: PreTrainedTokenizerBase, prompt: TofuPrompt, question: str, answer: str) -> Pair:
    """Token ids of the prompt and of the answer, with the token that ends it.

    Both are encoded as one text; tokens that the prompt alone does not begin with are the answer's.

    Raises:
        InputError: The answer has no token of its own, or there is no chat template.
    """
    asked = prompt_text(tokenizer, prompt, question)
    prompt_ids = encode(tokenizer, asked)
    whole_ids = encode(tokenizer, _with_answer(tokenizer, prompt, question, answer))
    if tokenizer.eos_token_id is not None and whole_ids[-1] != tokenizer.eos_token_id:
        whole_ids.append(tokenizer.eos_token_id)
    shared = len(prompt_ids)
    if not prompt.space_apart:
        both = zip(prompt_ids, whole_ids, strict=False)
        shared = sum(1 for _ in takewhile(lambda two: two[0] == two[1], both))
    if not 0 < shared < len(whole_ids):
        raise InputError(
            f"The answer {answer[:60]!r} has no token of its own after {asked[-60:]!r}. Choose another form of prompt."
        )
    return whole_ids[:shared], whole_ids[shared:]


def _with_answer(tokenizer: PreTrainedTokenizerBase, prompt: TofuPrompt, question: str, answer: str) -> str:
    if prompt.chat:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        # What a template writes after the end of the turn is no part of the answer.
        return apply_template(tokenizer, messages).rstrip()
    text, space = _tagged(prompt, question)
    return text + space + answer


def _tagged(prompt: TofuPrompt, question: str) -> tuple[str, str]:
    """The question between its tags, and the spaces that end it apart."""
    text = prompt.question_start + question + prompt.question_end + prompt.answer_start
    return text.rstrip(" "), text[len(text.rstrip(" ")) :]
