"""Weights of a checkpoint in other files than those that are read and changed.

Repositories keep the same weights in several formats side by side. Copied unchanged into a result, the others would
know everything that the changed ones forgot, and some loaders prefer them.
"""

import struct
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_FOLDERS = {
    "onnx", "openvino", "coreml", "tflite", "tf", "saved_model", "savedmodel", "flax", "jax", "mlx", "gguf", "ggml",
    "original", "tensorrt", "trt", "ctranslate2", "executorch", "rknn", "qnn", ".git", ".cache",
}  # fmt: skip
"""Folders of another format; `.git` and `.cache` hold weights as blobs without a name."""
_FOLDER_ENDINGS = (".mlpackage", ".mlmodelc", ".mlmodel", ".orbax", ".zarr", ".tfmodel")
_FOLDER_BEGINNINGS = ("checkpoint-", "global_step")
_ENDINGS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".gguf", ".ggml", ".onnx", ".onnx_data",
    ".onnx.data", ".ort", ".h5", ".hdf5", ".keras", ".msgpack", ".npz", ".npy", ".tflite", ".lite", ".pb", ".mlmodel",
    ".engine", ".plan", ".trt", ".ot", ".params", ".pdparams", ".pdiparams", ".nemo", ".mar", ".distcp", ".pte", ".q4",
    ".q8", ".dduf", ".llamafile", ".rknn", ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".zip", ".7z",
    ".rar", ".incomplete", ".bin.index.json", ".safetensors.index.json", ".msgpack.index.json", ".h5.index.json",
)  # fmt: skip
_TENSORFLOW = ("model.ckpt", "tf_model", "variables.data")
# What trainers leave that holds settings alone.
_HARMLESS = {"training_args.bin"}
_MAGIC = (b"GGUF", b"ggml", b"ggjt", b"tjgg", b"lmgg", b"\x89HDF\r\n\x1a\n")
_PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LARGE_PICKLE = 1 << 20


def is_other_folder(name: str) -> bool:
    """Whether a folder, by its name relative to the checkpoint, is that of another format."""
    last = PurePosixPath(name).name.lower()
    return last in _FOLDERS or last.endswith(_FOLDER_ENDINGS) or last.startswith(_FOLDER_BEGINNINGS)


def is_other_weights(directory: Path, name: str, own: Iterable[str]) -> bool:
    """Whether a file holds weights, or is the index of such files, and is not one that the checkpoint is read from.

    Args:
        directory: The checkpoint.
        name: Of the file, relative to it, with '/'.
        own: Weight files of the checkpoint, and their index if they have one.
    """
    lower = PurePosixPath(name).name.lower()
    if name in own or (lower in _HARMLESS and (directory / name).stat().st_size < _LARGE_PICKLE):
        return False
    folders = PurePosixPath(name).parts[:-1]
    if lower.endswith(_ENDINGS) or lower.startswith(_TENSORFLOW) or any(map(is_other_folder, folders)):
        return True
    return _begins_like_weights(directory / name)


def _begins_like_weights(file: Path) -> bool:
    """By what it begins with: a copy that was renamed, such as `model.safetensors.old`, is still one."""
    with file.open("rb") as opened:
        first = opened.read(9)
    size = file.stat().st_size
    if first.startswith(_MAGIC) or (first.startswith(_PICKLED) and size >= _LARGE_PICKLE):
        return True
    # safetensors: the length of a JSON object, and the object.
    return len(first) == 9 and first.endswith(b"{") and 2 <= struct.unpack("<Q", first[:8])[0] <= size - 8
