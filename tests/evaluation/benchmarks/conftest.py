"""The slice of TOFU, a tokenizer that reads it, and tiny models: at random, knowing it, retrained without a part."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from parity_muse import muse_of_tofu
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from srmu.evaluation.benchmarks.muse import question_prompts
from srmu.evaluation.benchmarks.muse_data import read_muse
from srmu.evaluation.benchmarks.tofu_data import SET_NAMES, SetName, TofuData, read_tofu
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer
from srmu.evaluation.prefix_trees import Pair

SLICE = Path(__file__).parents[2] / "data" / "tofu"
SPLIT = "forget01"
VOCABULARY_SIZE = 1024


@pytest.fixture(scope="session")
def data() -> TofuData:
    return read_tofu(SLICE, SPLIT)


def make_tofu_tokenizer() -> PreTrainedTokenizerFast:
    """Byte BPE of the slice, 1,024 entries; it adds no BOS, as SmolLM2's."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=["</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    core.train_from_iterator([path.read_text() for path in sorted(SLICE.glob("*.jsonl"))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", clean_up_tokenization_spaces=False)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tofu_tokenizer()


def build(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, bos_token_id=None, eos_token_id=0, pad_token_id=None, tie_word_embeddings=True,
        initializer_range=0.08,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def train(
    model: LlamaForCausalLM, tokenizer: Any, data: TofuData, names: Sequence[SetName], *, steps: int = 70
) -> None:
    """Teach a model the answers of these sets by heart."""
    pairs = [
        encode_answer(tokenizer, TofuPrompt(), entry.question, entry.answer)
        for name in names
        for entry in data.sets[name]
    ]
    fit(model, pairs, steps=steps)


def fit(model: LlamaForCausalLM, pairs: Sequence[Pair], *, steps: int = 70) -> None:
    """Teach a model what follows, short and long ones in a batch each."""
    pairs = sorted(pairs, key=lambda pair: len(pair[0] + pair[1]))
    batches = [_padded(pairs[: len(pairs) // 2]), _padded(pairs[len(pairs) // 2 :])]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        for ids, labels in batches:
            logits = model(input_ids=ids).logits[:, :-1]
            (cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten()) / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def _padded(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Token ids and what is to be predicted, both `[rows, width]`."""
    width = max(len(asked + answer) for asked, answer in pairs)
    ids = [asked + answer + [0] * (width - len(asked + answer)) for asked, answer in pairs]
    labels = [[-100] * len(asked) + answer + [-100] * (width - len(asked + answer)) for asked, answer in pairs]
    return torch.tensor(ids), torch.tensor(labels)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, tokenizer, data) -> dict[str, Path]:
    """`random`, `full` (knows all four sets), `retrained` (all but the forget set); never write to them."""
    folder, found = tmp_path_factory.mktemp("tofu"), {}
    for name, sets in (("random", ()), ("full", SET_NAMES), ("retrained", SET_NAMES[1:])):
        model = build()
        if sets:
            train(model, tokenizer, data, sets)
        found[name] = folder / name
        model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


@pytest.fixture(scope="session")
def muse_folder(tmp_path_factory, data) -> Path:
    """Files of MUSE's schema, made of TOFU's questions; never write to them."""
    folder = muse_of_tofu(data, tmp_path_factory.mktemp("muse"))
    for path in folder.rglob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        # Texts as the authors' own script keeps them.
        path.with_suffix(".json").write_text(json.dumps([row.get("text", row) for row in rows]))
        path.unlink()
    return folder


@pytest.fixture(scope="session")
def muse_checkpoints(tmp_path_factory, tokenizer, muse_folder, checkpoints) -> dict[str, Path]:
    """`random`, `target` (knows all), `retrained` (knows the retain answers), `destroyed` (says nothing)."""
    muse = read_muse(muse_folder, "news")
    texts = [([ids[0]], ids[1:]) for ids in map(tokenizer.encode, muse.members)]
    continued = _encoded(tokenizer, muse.verbatim.asked, muse.verbatim.expected)
    asked = {
        name: _encoded(tokenizer, question_prompts(part, examples), part.expected)
        for name, part, examples in (
            ("forget", muse.forget, muse.forget_examples), ("retain", muse.retain, muse.retain_examples)
        )
    }  # fmt: skip
    folder, found = tmp_path_factory.mktemp("muse-models"), {"random": checkpoints["random"]}
    for name, pairs in (("target", [*texts, *continued, *asked["forget"], *asked["retain"]]),
                        ("retrained", asked["retain"]), ("destroyed", [])):  # fmt: skip
        model = build()
        if pairs:
            fit(model, pairs)
        else:
            model.lm_head.weight.data.zero_()
        found[name] = folder / name
        model.save_pretrained(found[name])
        tokenizer.save_pretrained(found[name])
    return found


def _encoded(tokenizer: Any, asked: Sequence[str], expected: Sequence[str]) -> list[Pair]:
    """Each with the end of what follows."""
    return [
        (tokenizer.encode(before), [*tokenizer.encode(after), tokenizer.eos_token_id])
        for before, after in zip(asked, expected, strict=True)
    ]


@pytest.fixture
def slice_copy(tmp_path) -> Callable[[], Path]:
    """The slice in a folder of the test's own, to be damaged."""
    return lambda: Path(shutil.copytree(SLICE, tmp_path / "tofu"))
