"""The plain implementation, as the published RMU code is built: two whole models, hooks, gradients everywhere.

Every forward pass runs all layers and the vocabulary head. The updated model has gradients for all of its parameters;
the optimizer knows three of them. Losses are means over real tokens and features. SRMU needs one more pass of the
frozen model, over the forget rows, for its importance map.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from srmu.objective.direction import draw_direction
from srmu.solver.schedule import build_schedule


class PlainRun:
    """Takes the steps of a task one by one.

    Args:
        task: See `write_task`.
        rows: `forget`, a list of rows of token ids, and `retain`, a list of such lists.
    """

    def __init__(self, task: dict[str, Any], rows: dict[str, Any]):
        self.task, self.rows = task, rows
        shape = task["shape"]
        self.layer = shape["layer"]
        self.frozen, self.updated = (
            AutoModelForCausalLM.from_pretrained(task["model"], dtype=getattr(torch, shape["dtype"])).to(task["device"])
            for _ in range(2)
        )
        trained = [
            self.updated.model.layers[layer_id].mlp.down_proj.weight
            for layer_id in range(self.layer - 2, self.layer + 1)
        ]
        self.optimizer = torch.optim.AdamW(trained, lr=task["learning_rate"], weight_decay=0.0)
        self.direction = draw_direction(task["method"], "signs", shape["hidden"], seed=task["seed"], topic_index=0)
        self.direction = self.direction.to(task["device"])
        self.schedule = iter(
            build_schedule(
                [len(rows["forget"])],
                [[len(source) for source in rows["retain"]]],
                steps=task["steps"],
                forget_batch_size=shape["forget_batch_size"],
                retain_batch_size=shape["retain_batch_size"],
                seed=task["seed"],
            )
        )

    def prepare(self) -> None:
        """Nothing is computed ahead."""

    def step(self) -> tuple[float, float]:
        """One step; the forget and the retain loss before it."""
        step = next(self.schedule)
        forget = self._pad([self.rows["forget"][position] for position in step.forget])
        retain = self._pad([self.rows["retain"][source][position] for source, position in step.retain])
        updated_forget = hidden_after(self.updated, *forget, self.layer)
        updated_retain = hidden_after(self.updated, *retain, self.layer)
        with torch.no_grad():
            frozen_retain = hidden_after(self.frozen, *retain, self.layer)
            target = self._target(forget, frozen_retain, retain[1])
        forget_loss = (updated_forget.float() - target)[forget[1]].square().mean()
        retain_loss = (updated_retain.float() - frozen_retain.float())[retain[1]].square().mean()
        self.optimizer.zero_grad()
        (forget_loss + self.task["retain_weight"] * retain_loss).backward()
        self.optimizer.step()
        return forget_loss.item(), retain_loss.item()

    def _target(self, forget: tuple[Tensor, Tensor], frozen_retain: Tensor, retain_mask: Tensor) -> Tensor:
        if self.task["method"] == "rmu":
            return self.task["steering_coefficient"] * self.direction
        frozen_forget = hidden_after(self.frozen, *forget, self.layer)
        forget_mean = frozen_forget[forget[1]].float().abs().mean(dim=0)
        retain_mean = frozen_retain[retain_mask].float().abs().mean(dim=0)
        importance = torch.log1p(forget_mean / (retain_mean + self.task["map_epsilon"]))
        return self.task["steering_coefficient"] * self.direction * importance / (importance.max() + 1e-8)

    def _pad(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        length = max(map(len, rows))
        token_ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        real = torch.tensor([[place < len(row) for place in range(length)] for row in rows])
        return token_ids.to(self.task["device"]), real.to(self.task["device"])


def hidden_after(model: Any, token_ids: Tensor, real: Tensor, layer_id: int) -> Tensor:
    """The residual stream after a layer, by a hook on a pass through the whole model."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = model.model.layers[layer_id].register_forward_hook(keep)
    model(input_ids=token_ids, attention_mask=real.long(), use_cache=False)
    handle.remove()
    return seen[0]
