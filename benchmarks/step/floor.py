"""The least time that the engine's step can take: its operations and bytes at this machine's measured rates.

Counted is what the method needs with a frozen pass and a replay, and nothing twice:

- the products of layers 0 to l, forward, for every token (frozen pass);
- of the first trained layer the down-projection again; of the later ones all products again, and once more for the
  gradient of their inputs (replay);
- the gradient of each trained matrix;
- attention's own products, halved because it is causal;
- exponentials, which are operations too: of the activation function and of attention's softmax, forward and once more
  for the gradient;
- where nothing is multiplied, one reading of every input and one writing of every output: norms, rotary embeddings,
  residual sums, the gate, their gradients, and AdamW.

Products and exponentials are timed at the shapes that occur, other element-wise work at the rate of copying a tensor
of the size that occurs.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

REPEATS = 5


@dataclass(frozen=True)
class Product:
    """A matrix product of a linear map from `inputs` to `outputs` features.

    Attributes:
        kind: `forward`, or the gradient of its `input` or `weight`.
        tokens: In the batch.
        inputs: Features.
        outputs: Features.
    """

    kind: str
    tokens: int
    inputs: int
    outputs: int

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * self.tokens * self.inputs * self.outputs


def layer_matrices(shape: dict[str, Any]) -> list[tuple[int, int]]:
    """(inputs, outputs) of a layer's matrices, the down-projection last."""
    hidden, inner = shape["hidden"], shape["intermediate"]
    keys = hidden // shape["heads"] * shape["kv_heads"]
    return [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden), (hidden, inner), (hidden, inner),
            (inner, hidden)]  # fmt: skip


def products(shape: dict[str, Any]) -> Counter[Product]:
    """How often each product occurs in a step; the two sides are two batches."""
    matrices, count = layer_matrices(shape), Counter[Product]()
    num_layers, num_trained = shape["layer"] + 1, 3
    for rows in (shape["forget_batch_size"], shape["retain_batch_size"]):
        tokens = rows * shape["max_length"]
        for inputs, outputs in matrices:
            count[Product("forward", tokens, inputs, outputs)] += num_layers + num_trained - 1
            count[Product("input", tokens, inputs, outputs)] += num_trained - 1
        count[Product("forward", tokens, *matrices[-1])] += 1
        count[Product("weight", tokens, *matrices[-1])] += num_trained
    return count


def attention_products(shape: dict[str, Any]) -> dict[int, int]:
    """Rows -> how often queries by keys, or a product of the same size, occur: two forward, four in the gradient."""
    forward, gradient = 2 * (shape["layer"] + 1 + 2), 4 * 2
    count: Counter[int] = Counter()
    for rows in (shape["forget_batch_size"], shape["retain_batch_size"]):
        count[rows] += forward + gradient
    return dict(count)


def moved_features(shape: dict[str, Any]) -> tuple[int, int]:
    """Numbers that element-wise work reads and writes: a token and step, and a step."""
    hidden, inner = shape["hidden"], shape["intermediate"]
    heads = hidden + hidden // shape["heads"] * shape["kv_heads"]
    # Two norms (in, out), two residual sums (two in, one out), queries and keys turned (in, out), and of the gate what
    # the activation's own time does not hold: it reads the other factor.
    forward = 2 * 2 * hidden + 2 * 3 * hidden + 2 * heads + inner
    # Two norms (input, gradient in, gradient out), two sums of gradients, turning back, the gate (likewise).
    gradient = 2 * 3 * hidden + 2 * 3 * hidden + 2 * heads + 3 * inner
    loss = 2 * 3 * hidden
    num_frozen, num_replayed = shape["layer"] + 1, 2
    a_token = num_frozen * forward + num_replayed * (forward + gradient) + 3 * hidden + loss
    # AdamW reads master, gradient and both moments, and writes master and moments.
    return a_token, 7 * 3 * hidden * inner


def measure_floor(task: dict[str, Any]) -> dict[str, float]:
    """Seconds of the floor and its parts, and the rates, now."""
    shape, device = task["shape"], torch.device(task["device"])
    dtype = getattr(torch, shape["dtype"])
    counted = products(shape)
    times = {product: _seconds(_product(product, device, dtype), device) for product in counted}
    in_products = sum(count * times[product] for product, count in counted.items())
    operations = sum(count * product.operations for product, count in counted.items())
    in_attention = 0.0
    for rows, count in attention_products(shape).items():
        in_attention += count * _seconds(_scores(rows, shape, device, dtype), device) / 2
    tokens = (shape["forget_batch_size"] + shape["retain_batch_size"]) * shape["max_length"]
    a_token, a_step = moved_features(shape)
    block = torch.empty(tokens // 2, shape["intermediate"], dtype=dtype, device=device)
    other = torch.ones_like(block)
    size = dtype.itemsize
    times_computed = shape["layer"] + 1 + 2 + 2
    in_exponentials = times_computed * (
        2 * _seconds(lambda: torch.nn.functional.silu(other), device) + _softmax_seconds(shape, device, dtype)
    )
    rate = 2 * block.numel() * size / _seconds(lambda: block.copy_(other), device)
    in_memory = (tokens * a_token * size + a_step * 4) / rate
    return {
        "floor_seconds": in_products + in_attention + in_exponentials + in_memory,
        "products_seconds": in_products,
        "attention_seconds": in_attention,
        "exponentials_seconds": in_exponentials,
        "memory_seconds": in_memory,
        "operations": float(operations),
        "operations_per_second": operations / in_products,
        "bytes_per_second": rate,
    }


def _product(product: Product, device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    inputs = torch.randn(product.tokens, product.inputs, device=device, dtype=dtype)
    weight = torch.randn(product.outputs, product.inputs, device=device, dtype=dtype)
    gradient = torch.randn(product.tokens, product.outputs, device=device, dtype=dtype)
    if product.kind == "forward":
        return lambda: inputs @ weight.t()
    if product.kind == "input":
        return lambda: gradient @ weight
    return lambda: gradient.t() @ inputs


def _scores(rows: int, shape: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    size = (rows * shape["heads"], shape["max_length"], shape["hidden"] // shape["heads"])
    queries, keys = (torch.randn(size, device=device, dtype=dtype) for _ in range(2))
    return lambda: torch.bmm(queries, keys.transpose(1, 2))


def _softmax_seconds(shape: dict[str, Any], device: torch.device, dtype: torch.dtype) -> float:
    """Time of the exponentials of both sides' scores in one layer, of which causal attention needs half."""
    rows = shape["forget_batch_size"] + shape["retain_batch_size"]
    scores = torch.randn(rows * shape["heads"], shape["max_length"], shape["max_length"], device=device, dtype=dtype)
    return _seconds(lambda: torch.exp(scores), device) / 2


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median time of the work, after one run to warm up."""
    taken = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])
