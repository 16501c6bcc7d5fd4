"""A Hugging Face checkpoint on disk, read and checked without loading it."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.runtime.files import CHUNK_BYTES
from srmu.runtime.regular import special_file
from srmu.surgery.header import TORCH_DTYPES, StoredTensor, read_header

_CONVERT = "Convert them once, without running them: srmu convert {path} NEW, and give NEW."
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SCALED = ("F8_", "F6_", "F4")
_LAYER_COUNT = re.compile(r"(num_(hidden_|decoder_)?|n_|encoder_|decoder_)layers?")
_COUNT, _MOST, _FEW = re.compile(r"(num|n)_.*(head|expert|layer)"), 100_000, 1000
"""Libraries make a list, or modules, of so many entries."""
_PICKLES = ("pytorch_model*", "model*.bin", "*.pt", "*.pth", "*.ckpt")
# A hub snapshot without the other formats that repositories keep beside the safetensors files.
_HUB_ALLOW = [
    "*.safetensors",
    "*.json",
    "*.jinja",
    "*.model",
    "*.tiktoken",
    "*.txt",
    "*.py",
    "*.md",
    "LICENSE*",
    "NOTICE*",
]
_HUB_IGNORE = ["consolidated*", "original/*", "onnx/*", "openvino/*", "coreml/*"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files were checked; nothing of its weights is in memory.

    Attributes:
        path: Its directory.
        config: `config.json`.
        shards: File names of the weights, in the order of their names.
        tensors: Every tensor by its stored name.
        index: File name of the weights' index, where there is one.
    """

    path: Path
    config: dict[str, Any]
    shards: tuple[str, ...]
    tensors: dict[str, StoredTensor]
    index: str | None = None

    @property
    def weight_files(self) -> tuple[str, ...]:
        """Names of the files that hold the weights, their index included."""
        return self.shards if self.index is None else (*self.shards, self.index)

    @property
    def dtypes(self) -> set[str]:
        """What the tensors are stored in, as safetensors names it."""
        return {tensor.dtype for tensor in self.tensors.values()}


class StoredTensors(Mapping[str, Tensor]):
    """Tensors of a checkpoint as a mapping that reads one whenever it is asked for."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def __getitem__(self, name: str) -> Tensor:
        return read_tensor(self.checkpoint, name)

    def __contains__(self, name: object) -> bool:
        return name in self.checkpoint.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.checkpoint.tensors)

    def __len__(self) -> int:
        return len(self.checkpoint.tensors)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read the configuration and the weight headers of a checkpoint directory.

    Files are chosen as Transformers does: `transformers_weights` of the configuration, else
    `model.safetensors`, else the index.

    Args:
        path: The directory.

    Raises:
        InputError: No checkpoint, a missing, truncated or damaged shard, pickled or already quantised
            weights, an adapter.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"Checkpoint {str(path)!r} is not a directory. Give the directory that holds config.json.")
    if (special := special_file(path)) is not None:
        raise InputError(f"{str(path / special)!r} is no file, which belongs to no checkpoint. Remove it.")
    config = _read_config(path)
    entry = config.get("transformers_weights") or (_SINGLE if (path / _SINGLE).is_file() else _INDEX)
    _check_inside(entry, path / "config.json")
    if not (path / entry).is_file():
        raise InputError(_no_weights(path, entry))
    indexed = _read_index(path / entry) if entry.endswith(".index.json") else None
    shards = tuple(sorted(set(indexed.values()))) if indexed is not None else (entry,)
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        if not (path / shard).is_file():
            raise InputError(
                f"Checkpoint {str(path)!r} lacks {shard!r}, which {entry!r} names. Copy or download that file."
            )
        for name, tensor in read_header(path / shard, shard)[0].items():
            if name in tensors:
                raise InputError(
                    f"Tensor {name!r} is both in {tensors[name].shard!r} and {shard!r} of {str(path)!r}. "
                    "Copy or download the checkpoint again."
                )
            tensors[name] = tensor
    for name, shard in (indexed or {}).items():
        if name not in tensors or tensors[name].shard != shard:
            raise InputError(
                f"The index {str(path / entry)!r} places tensor {name!r} in {shard!r}, "
                "which does not hold it. "
                "Copy or download the checkpoint again."
            )
    if not tensors:
        raise InputError(f"Checkpoint {str(path)!r} holds no tensors. Copy or download it again.")
    _check_counts(path, config, len(tensors))
    return Checkpoint(path, config, shards, tensors, entry if indexed is not None else None)


def read_tensor(checkpoint: Checkpoint, name: str) -> Tensor:
    """Read one tensor in its stored dtype.

    Raises:
        KeyError: The checkpoint has no such tensor.
        InputError: The file changed or vanished since it was opened.
    """
    stored = checkpoint.tensors[name]
    file = checkpoint.path / stored.shard
    if stored.dtype not in TORCH_DTYPES:
        raise InputError(f"Tensor {name!r} of {str(file)!r} has dtype {stored.dtype}, which torch does not know.")
    content = torch.empty(stored.end - stored.start, dtype=torch.uint8)
    try:
        # Not mapped into memory: where a file is cut short meanwhile, a map ends the process.
        with file.open("rb") as opened:
            opened.seek(stored.start)
            if opened.readinto(content.numpy().data) != len(content):
                raise OSError("it is shorter than it was")
    except OSError as error:
        raise InputError(
            f"Tensor {name!r} cannot be read from {str(file)!r} ({error}). Copy or download that file again."
        ) from None
    return content.view(TORCH_DTYPES[stored.dtype]).reshape(stored.shape)


def tensor_sha256(checkpoint: Checkpoint, name: str) -> str:
    """SHA-256 of a tensor's stored bytes, in hexadecimal; never holds more than a piece of it."""
    stored = checkpoint.tensors[name]
    digest = hashlib.sha256()
    with (checkpoint.path / stored.shard).open("rb") as file:
        file.seek(stored.start)
        for position in range(stored.start, stored.end, CHUNK_BYTES):
            digest.update(file.read(min(CHUNK_BYTES, stored.end - position)))
    return digest.hexdigest()


def resolve_model(model: str, revision: str | None = None) -> Path:
    """Find the checkpoint directory that `--model` names; a hub id is fetched into the hub's cache.

    A name is a hub id only if it cannot be a path: at most one slash, no leading dot, slash or tilde, and no
    such file on disk. Pickled weights are never downloaded.

    Args:
        model: A directory or a hub id.
        revision: Branch, tag or commit of the hub id.

    Raises:
        InputError: Neither a directory nor a reachable hub id.
    """
    path = Path(os.path.expanduser(model))
    if model and path.is_dir():
        if revision is not None:
            raise InputError(
                f"revision={revision!r} belongs to a hub id, but {model!r} is a directory. Leave the revision out."
            )
        return path
    if not model or model.startswith((".", "/", "~")) or model.count("/") > 1 or "\\" in model or path.exists():
        found = "is a file" if path.is_file() else "does not exist"
        raise InputError(
            f"Model {model!r} {found}. Give a checkpoint directory, or a hub id such as 'ORGANISATION/NAME'."
        )
    return _download(model, revision)


def _download(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=_HUB_ALLOW, ignore_patterns=_HUB_IGNORE))
    except HFValidationError:
        reason = "is neither a directory nor a valid hub id. Check the spelling."
    except GatedRepoError:
        reason = (
            f"is gated on the hub. Agree to its terms on https://huggingface.co/{model} and set HF_TOKEN to an access "
            "token of that account."
        )
    except RevisionNotFoundError:
        reason = f"has no revision {revision!r} on the hub. Check the branch, tag or commit."
    except RepositoryNotFoundError:
        reason = (
            "is neither a directory nor a model on the hub. Check the spelling; if it is private, set HF_TOKEN to an "
            "access token."
        )
    except (OSError, ValueError, RuntimeError) as error:
        # Offline, a hub that is down, a full disk: the hub library raises many kinds, all of these bases.
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = (
            f"is not a directory and could not be fetched from the hub ({first_line.rstrip('.')}). "
            "Check the network, or give a local checkpoint directory."
        )
    raise InputError(f"Model {model!r} {reason}") from None


def _read_config(path: Path) -> dict[str, Any]:
    if (path / "adapter_config.json").is_file():
        raise InputError(
            f"Checkpoint {str(path)!r} is a PEFT adapter (adapter_config.json). Merge it first, with PEFT's "
            "model.merge_and_unload() and save_pretrained(), and give the merged checkpoint."
        )
    file = path / "config.json"
    if not file.is_file():
        if any(path.glob("*.gguf")):
            raise InputError(
                f"Directory {str(path)!r} holds a GGUF file and no config.json. "
                "Give the safetensors checkpoint that it was made from."
            )
        raise InputError(
            f"Directory {str(path)!r} has no config.json. Give the directory of a Hugging Face checkpoint."
        )
    config = _read_json(file)
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and part.get("quantization_config"):
            raise InputError(
                f"Checkpoint {str(path)!r} is already quantised (quantization_config in config.json). Unlearn the "
                "checkpoint in float32, bfloat16 or float16 that it was made from, or this one in bfloat16: "
                f"srmu convert {shlex.quote(str(path))} NEW; then quantise the result."
            )
    return config


def check_scales(checkpoint: Checkpoint) -> None:
    """Refuse tensors that only a scale gives a meaning where nothing says how they are scaled.

    Raises:
        InputError: Naming the first one.
    """
    for tensor in checkpoint.tensors.values():
        if tensor.dtype.startswith(_SCALED):
            raise InputError(
                f"Tensor {tensor.name!r} of {str(checkpoint.path)!r} is stored in {tensor.dtype}, and config.json has "
                "no quantization_config that says how it is scaled. Use the checkpoint in float32, bfloat16 or float16."
            )


def _check_counts(path: Path, config: dict[str, Any], num_tensors: int) -> None:
    """Refuse counts of layers, heads or experts with which the libraries would fill the memory."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key, value in part.items():
            limit = max(num_tensors, _FEW) if _LAYER_COUNT.fullmatch(key) else _MOST if _COUNT.match(key) else None
            if limit is not None and isinstance(value, (int, float)) and not value <= limit:
                raise InputError(
                    f"config.json of {str(path)!r} says {key}={value!r:.40}, and the files hold {num_tensors} tensors. "
                    "Copy or download the checkpoint again."
                )


def _read_index(file: Path) -> dict[str, str]:
    weight_map = _read_json(file).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"The index {str(file)!r} has no weight_map. Copy or download it again.")
    for shard in weight_map.values():
        _check_inside(shard, file)
    return weight_map


def _check_inside(shard: Any, file: Path) -> None:
    """A name in a checkpoint's own files must not lead out of it, nor to another format."""
    if not isinstance(shard, str) or not shard.endswith((".safetensors", ".safetensors.index.json")):
        raise InputError(
            f"{str(file)!r} names {shard!r} as a weight file, which is not in the safetensors format. "
            + _CONVERT.format(path=shlex.quote(str(file.parent)))
        )
    if Path(shard).is_absolute() or ".." in Path(shard).parts or "\0" in shard or Path(shard).as_posix() != shard:
        raise InputError(
            f"{str(file)!r} names the weight file {shard!r} outside the checkpoint. Use a checkpoint that you trust."
        )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read ({error.strerror}). Check its permissions.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(file)!r} is not JSON ({str(error)[:100]}). Copy or download it again.") from None
    if not isinstance(loaded, dict):
        raise InputError(
            f"{str(file)!r} holds {type(loaded).__name__} where an object belongs. Copy or download it again."
        )
    return loaded


def _no_weights(path: Path, entry: str) -> str:
    if any(next(path.glob(pattern), None) for pattern in _PICKLES):
        return (
            f"Checkpoint {str(path)!r} has pickled weights only, which may run code when they are read. "
            + _CONVERT.format(path=shlex.quote(str(path)))
        )
    if any(path.glob("*.gguf")):
        return (
            f"Checkpoint {str(path)!r} has GGUF weights only. Give the safetensors checkpoint that they were made from."
        )
    if entry == _INDEX and (strays := sorted(file.name for file in path.glob("*.safetensors"))):
        return (
            f"Checkpoint {str(path)!r} has {strays[0]!r} but neither {_SINGLE!r} nor {_INDEX!r}. "
            "Copy or download the missing index."
        )
    wanted = f"{_SINGLE!r} or {_INDEX!r}" if entry == _INDEX else repr(entry)
    return (
        f"Checkpoint {str(path)!r} has no {wanted}. Copy or download the weights; pickled ones must be converted first."
    )
