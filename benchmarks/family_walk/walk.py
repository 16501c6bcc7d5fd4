"""Every decoder family of the installed Transformers: a tiny random checkpoint, `srmu unlearn`, the result loaded.

python benchmarks/family_walk/walk.py --out docs/reference/families.json    # all, for the page
python benchmarks/family_walk/walk.py gpt2 opt llava                        # these, printed
"""

import argparse
import contextlib
import io
import json
import re
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests")]

from tiny_configs import tiny_config  # noqa: E402

Status = Literal["works", "refused", "fails", "not built"]


@dataclass(frozen=True)
class Outcome:
    """What became of a family.

    Attributes:
        model_type: Its name in `config.json`.
        model_class: Of Transformers.
        status: Whether a run went to its end; was refused by a sentence; broke; or no tiny model could be made.
        trained: Names of the matrices that were trained in the tapped layer, with a star for numbers.
        reason: Why it did not work, in one sentence.
    """

    model_type: str
    model_class: str
    status: Status
    trained: tuple[str, ...] = ()
    reason: str = ""


def model_classes() -> dict[str, str]:
    """Model type -> class, for all that Transformers lists as decoders, or as models around one."""
    from transformers.models.auto import modeling_auto as auto

    found: dict[str, str] = {}
    for mapping in (
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    ):
        for name, kind in mapping.items():
            found.setdefault(name, kind if isinstance(kind, str) else kind[0])
    return dict(sorted(found.items()))


def try_family(model_type: str, folder: Path, *extra: str) -> Outcome:
    """Build, save, unlearn two steps, load; the reason names no path of this machine."""
    outcome = _try_family(model_type, folder, *extra)
    return replace(outcome, reason=re.sub(r" from '/[^'\s)]*'?", "", outcome.reason))


def _try_family(model_type: str, folder: Path, *extra: str) -> Outcome:
    kind = model_classes()[model_type]
    try:
        save_tiny(model_type, folder / "base")
    except Exception as error:
        return Outcome(model_type, kind, "not built", reason=first_line(error))
    code, said, crash = unlearn(folder, *extra)
    if crash:
        return Outcome(model_type, kind, "fails", reason=crash)
    if code:
        return Outcome(model_type, kind, "refused" if code == 2 else "fails", reason=said)
    try:
        check_result(kind, folder)
    except Exception as error:
        return Outcome(model_type, kind, "fails", reason="the result: " + first_line(error))
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    names = tuple(sorted({plain_name(change["name"]) for change in manifest["changed"]}))
    return Outcome(model_type, kind, "works", names)


def save_tiny(model_type: str, folder: Path) -> None:
    """A random model with a tokenizer of the tests."""
    import torch
    import transformers
    from transformers import AutoTokenizer

    from families import _draw_parameters
    from tiny_tokenizers import TOKENIZERS, make_tokenizer

    config = tiny_config(model_type)
    model = getattr(transformers, model_classes()[model_type])(config)
    size = sum(parameter.numel() for parameter in model.parameters())
    if size > 20_000_000:
        raise ValueError(f"it has {size:,} parameters even with small sizes")
    _draw_parameters(model, 0)
    model.to(torch.float32).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    if not AutoTokenizer.from_pretrained(folder).encode(" stone", add_special_tokens=False):
        # Transformers rebuilds any tokenizer of Qwen2's line as a byte BPE, which words are not.
        make_tokenizer(**TOKENIZERS["bytes_no_bos"]).save_pretrained(folder)


def unlearn(folder: Path, *extra: str) -> tuple[int, str, str]:
    """Exit code, error message, and the last frames of a traceback if there was one."""
    from main_job import write_texts
    from srmu.cli.app import main

    write_texts(folder)
    arguments = [
        "unlearn", str(folder / "base"), "--forget", str(folder / "forget.txt"),
        "--retain", str(folder / "retain.jsonl"), "--questions", f"forget={folder / 'questions.jsonl'}",
        "--steps", "2", "--max-length", "16", "--learning-rate", "0.01", "--no-audit", "--device", "cpu",
        "--dtype", "float32",
        "--out", str(folder / "run"), *extra,
    ]  # fmt: skip
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main(arguments)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        return 1, "", f"{first_line(error)} [{where}]"
    said = [line for line in errors.getvalue().splitlines() if line.startswith("error: ")]
    return code, said[-1].removeprefix("error: ") if said else "", ""


def check_result(kind: str, folder: Path) -> None:
    """The result loads in plain Transformers, whole, and computes other logits than the base."""
    import torch
    import transformers

    tokens = torch.arange(6, 18).unsqueeze(0)
    logits = []
    for path in (folder / "base", folder / "run" / "model"):
        model, info = getattr(transformers, kind).from_pretrained(path, output_loading_info=True)
        assert not info["missing_keys"], f"lacks {sorted(info['missing_keys'])[0]}"
        with torch.no_grad():
            logits.append(model.eval()(input_ids=tokens).logits)
        assert_same_stream(model, path, tokens)
    assert torch.isfinite(logits[1]).all(), "logits are not finite"
    assert not torch.equal(*logits), "the result computes what the base does"


def assert_same_stream(model: Any, path: Path, tokens: Any) -> None:
    """The first layers that srmu loads compute what they compute within the whole model."""
    import torch

    from srmu.surgery.checkpoint import open_checkpoint
    from srmu.surgery.layers import find_decoder_layers
    from srmu.surgery.taps import close, tapped_outputs
    from srmu.surgery.truncate import load_truncated

    layers = find_decoder_layers(model, model.config.get_text_config(decoder=True).num_hidden_layers)[1]
    truncated = load_truncated(open_checkpoint(path), 3, dtype=torch.float32, device=torch.device("cpu"))
    with tapped_outputs({"whole": layers[2], "own": truncated.layers[2]}) as found, torch.no_grad():
        model(input_ids=tokens)
        truncated.inner(input_ids=tokens, use_cache=False)
    assert close(found["own"][0], found["whole"][0]), "the first layers compute something else within the whole model"


def plain_name(name: str) -> str:
    """A stored name from its layer on, with numbers as stars."""
    parts = name.split(".")
    first = next((place for place, part in enumerate(parts) if part.isdigit()), -1)
    return ".".join("*" if part.isdigit() else part for part in parts[first + 1 :])


def first_line(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def main() -> None:
    """Walk, and write or print what was found."""
    import transformers

    parser = argparse.ArgumentParser()
    parser.add_argument("model_types", nargs="*")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    found = []
    for model_type in arguments.model_types or model_classes():
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            outcome = try_family(model_type, Path(folder))
        found.append(outcome)
        seconds = time.perf_counter() - began
        print(
            f"{outcome.status:9} {model_type:28} {seconds:5.1f} {', '.join(outcome.trained)} {outcome.reason}",
            flush=True,
        )
    if arguments.out:
        content = {"transformers": transformers.__version__, "outcomes": [asdict(outcome) for outcome in found]}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
