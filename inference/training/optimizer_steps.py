"""Optimizer steps without the optimizer's own bookkeeping, where that costs more than the arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..graphs.internals import fused_adam

__all__ = ["OptimizerStep", "clip_gradients"]

_KNOWN = (torch.optim.Adam, torch.optim.AdamW)


class OptimizerStep:
    """One step of an optimizer from gradients.

    A fused `torch.optim.Adam` (or AdamW) is stepped by its own kernel on its own state, which is several times faster
    than its `step` for small parameters; the state stays the optimizer's, so that it is saved and loaded as ever.
    Any other optimizer, and one with hooks, runs its `step`.

    Args:
        optimizer: the optimizer.
        parameters: its parameters, in the order of the gradients that will come.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> None:
        self.optimizer, self.parameters = optimizer, list(parameters)
        self._ready: list[list[Tensor]] | None = None

    def __call__(self, gradients: Sequence[Tensor | None]) -> None:
        """Update the parameters; a parameter whose gradient is None is left alone."""
        if self._ready is None or self._changed():
            self._by_optimizer(gradients)
            self._ready = self._tensors() if self._is_simple(gradients) else None
            return
        group = self.optimizer.param_groups[0]
        exp_avgs, exp_avg_sqs, steps = self._ready
        torch._foreach_add_(steps, 1)
        fused_adam(type(self.optimizer) is torch.optim.AdamW or bool(group.get("decoupled_weight_decay")))(
            self.parameters,
            gradients,
            exp_avgs,
            exp_avg_sqs,
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )

    def forget(self) -> None:
        """The optimizer's state was replaced, as by `load_state_dict`: look it up again."""
        self._ready = None

    def _by_optimizer(self, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def _is_simple(self, gradients: Sequence[Tensor | None]) -> bool:
        optimizer = self.optimizer
        if type(optimizer) not in _KNOWN or len(optimizer.param_groups) != 1:
            return False
        group = optimizer.param_groups[0]
        hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
        plain = group["fused"] and not group["amsgrad"] and not group["differentiable"] and not hooked
        same = len(group["params"]) == len(self.parameters) and all(
            a is b for a, b in zip(group["params"], self.parameters, strict=True)
        )
        return bool(plain and same and all(gradient is not None for gradient in gradients))

    def _changed(self) -> bool:
        """Whether someone has added a hook, or replaced the state of the first parameter, as loading a checkpoint does."""
        if self.optimizer._optimizer_step_pre_hooks or self.optimizer._optimizer_step_post_hooks:
            return True
        state = self.optimizer.state.get(self.parameters[0])
        return self._ready is None or not state or state["exp_avg"] is not self._ready[0][0]

    def _tensors(self) -> list[list[Tensor]]:
        states = [self.optimizer.state[parameter] for parameter in self.parameters]
        return [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")]


def clip_gradients(gradients: Sequence[Tensor | None], norm: float) -> None:
    """Scale gradients down in place so that their global norm is at most `norm`, without waiting for the device."""
    present = [gradient for gradient in gradients if gradient is not None]
    total = torch.nn.utils.get_total_norm(present)
    torch._foreach_mul_(present, (norm / (total + 1e-6)).clamp(max=1.0))
