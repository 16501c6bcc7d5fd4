"""Export of a large checkpoint against `cp` on the same files: docs/background/performance.md.

    python benchmarks/writing.py --gb 20 --repeats 3 --folder /some/disk

Makes a checkpoint of that size, every other tensor zeros and the rest noise, in shards of at most 5 GB. Each repeat
copies it with `cp -r` and then `sync`, and exports it with three changed matrices, which flushes files too. Each is
a process of its own, in alternating order, and begins with nothing to flush and the base on the disk alone (or, with
`--warm`, in the cache as far as it fits). Copies are removed. The last line is one JSON object: the shares are the
time of `cp` with and without `sync` over that of the export, medians over the pairs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

HIDDEN, INTERMEDIATE = 4096, 11008
MATRIX_BYTES = 2 * HIDDEN * INTERMEDIATE
SHARD_BYTES = 5 * 10**9
NOISE_BYTES = 1 << 26
CHANGED = 3


def make_checkpoint(folder: Path, size: float) -> None:
    """Write shards of bfloat16 matrices, zeros and noise by turns, and the index."""
    generator = np.random.default_rng(0)
    # Exponents below 128, so that every value is finite.
    noise = (generator.integers(0, 1 << 16, NOISE_BYTES // 2, dtype=np.uint16) & 0xBFFF).tobytes()
    noise *= -(-MATRIX_BYTES // NOISE_BYTES)
    contents = (bytes(MATRIX_BYTES), noise[:MATRIX_BYTES])
    names = [
        f"model.layers.{number}.mlp.down_proj.weight" for number in range(max(CHANGED, round(size / MATRIX_BYTES)))
    ]
    a_shard = SHARD_BYTES // MATRIX_BYTES
    weight_map = {}
    for start in range(0, len(names), a_shard):
        shard, held = f"model-{start // a_shard:05}.safetensors", names[start : start + a_shard]
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        for index, name in enumerate(held):
            offsets = [index * MATRIX_BYTES, (index + 1) * MATRIX_BYTES]
            header[name] = {"dtype": "BF16", "shape": [HIDDEN, INTERMEDIATE], "data_offsets": offsets}
            weight_map[name] = shard
        raw = json.dumps(header).encode()
        with (folder / shard).open("wb") as file:
            file.write(len(raw).to_bytes(8, "little") + raw)
            for index in range(start, start + len(held)):
                file.write(contents[index % 2])
            file.flush()
            os.fsync(file.fileno())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))


def export_once(base_dir: Path, out: Path) -> dict[str, float]:
    """Export and check in this process; seconds of each, and peak resident memory in MB."""
    import torch

    from srmu.export.patch import check_only_changed, export_checkpoint
    from srmu.runtime.memory import peak_memory_mb, reset_peak_memory
    from srmu.surgery.checkpoint import open_checkpoint, read_tensor

    device = torch.device("cpu")
    base = open_checkpoint(base_dir)
    names = list(base.tensors)[-CHANGED:]
    changed = {name: read_tensor(base, name) + 1 for name in names}
    reset_peak_memory(device)
    started = time.perf_counter()
    export_checkpoint(base, changed, out)
    exported = time.perf_counter()
    check_only_changed(base, out, names)
    checked = time.perf_counter()
    peak = peak_memory_mb(device)["resident"]
    return {"export_seconds": exported - started, "check_seconds": checked - exported, "peak_resident_mb": peak}


def run_export(base: Path, out: Path) -> dict[str, float]:
    """`export_once` in a process of its own."""
    command = [sys.executable, __file__, "--once", str(base), str(out)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def run_cp(base: Path, out: Path) -> dict[str, float]:
    """Seconds of `cp -r`, and with the `sync` that follows."""
    started = time.perf_counter()
    subprocess.run(["cp", "-r", str(base), str(out)], check=True)
    copied = time.perf_counter()
    subprocess.run(["sync", "-f", str(out)], check=True)
    return {"cp_seconds": copied - started, "cp_sync_seconds": time.perf_counter() - started}


def settle(base: Path, *, warm: bool) -> None:
    """The same start for both sides: nothing left to flush, and the base out of the page cache or in it."""
    subprocess.run(["sync", "-f", str(base)], check=True)
    for path in sorted(base.iterdir()):
        with path.open("rb") as file:
            if warm:
                while file.read(1 << 23):
                    pass
            else:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Make the checkpoint, take the pairs, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=20.0, help="size of the checkpoint in 10^9 bytes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("."), help="a folder on the disk to measure")
    parser.add_argument("--warm", action="store_true", help="begin with the base in the page cache")
    parser.add_argument("--once", nargs=2, type=Path, metavar=("BASE", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(export_once(*arguments.once)))
        return
    needed = 2.1 * arguments.gb * 1e9
    if shutil.disk_usage(arguments.folder).free < needed:
        parser.error(f"{str(arguments.folder)!r} has less than {needed / 1e9:.0f} GB free")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        base, copy, out = (Path(folder) / name for name in ("base", "copy", "out"))
        base.mkdir()
        make_checkpoint(base, arguments.gb * 1e9)
        pairs = []
        for repeat in range(arguments.repeats):
            pair: dict[str, float] = {}
            for side in ("cp", "export") if repeat % 2 == 0 else ("export", "cp"):
                settle(base, warm=arguments.warm)
                if side == "cp":
                    pair |= run_cp(base, copy)
                    shutil.rmtree(copy)
                else:
                    pair |= run_export(base, out)
                    shutil.rmtree(out)
            for other in ("cp", "cp_sync"):
                pair[f"share_of_{other}"] = pair[f"{other}_seconds"] / pair["export_seconds"]
            pairs.append(pair)
            print(json.dumps({name: round(value, 3) for name, value in pair.items()}), flush=True)
    print(
        json.dumps(
            {
                "gb": arguments.gb,
                "share_of_cp": round(median(pair["share_of_cp"] for pair in pairs), 3),
                "share_of_cp_sync": round(median(pair["share_of_cp_sync"] for pair in pairs), 3),
                "peak_resident_mb": max(pair["peak_resident_mb"] for pair in pairs),
            }
        )
    )


if __name__ == "__main__":
    main()
