"""A phase's loss and its gradient as a function of a pair and tensors, ready to be recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyrogen.batch import Batch
from pyrogen.pair import Pair

from ..graphs.batches import BatchLayout
from ..graphs.compiled_function import SITE
from ..objectives.objective import LossFunction
from .precision import Precision, computing_in

__all__ = ["GRADIENT", "LOSS", "MEASURED", "STATE", "UNSEEN", "Layout", "LossAndGradient", "named"]

LOSS, GRADIENT, STATE, MEASURED = "loss", "gradient.", "state.", "measured."
"""Names of outputs: the loss, and prefixes of the gradients, of the objective's state and of what it measured."""

UNSEEN = "unseen."
"""Prefix of gradients that reach a parameter past what stands in for it in a recorded run; only a fault has any."""


def named(outputs: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The outputs whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in outputs.items() if name.startswith(prefix)}


class Layout:
    """How a batch, a factor beta and an objective's state lie in one list of tensors."""

    def __init__(self, batch: Batch, state: Mapping[str, Tensor], *, with_beta: bool) -> None:
        self.batch, self.state, self.with_beta = BatchLayout(batch), list(state), with_beta

    def __len__(self) -> int:
        return len(self.batch.places) + self.with_beta + len(self.state)

    def pack(self, batch: Batch, state: Mapping[str, Tensor], beta: Tensor | None) -> list[Tensor]:
        """The tensors of a batch, of beta and of a state, in order."""
        tensors = self.batch.pack(batch)
        if self.with_beta:
            tensors.append(beta if beta is not None else tensors[0].new_ones(()))
        return [*tensors, *(state[name] for name in self.state)]

    def unpack(self, tensors: Sequence[Tensor]) -> tuple[Batch, Tensor | float, dict[str, Tensor]]:
        """The batch, beta and the state that those tensors are."""
        count = len(self.batch.places)
        rest = list(tensors[count:])
        beta: Tensor | float = rest.pop(0) if self.with_beta else 1.0
        return self.batch.unpack(tensors[:count]), beta, dict(zip(self.state, rest, strict=True))


class LossAndGradient:
    """A phase's loss, its gradient for each trained parameter, and what the objective carries on and has measured.

    Its outputs are ``loss``, ``gradient.PARAMETER``, ``state.NAME``, ``measured.NAME`` and, to find out where two runs part,
    ``site.NAME`` with the sum of each site's log probability.

    Args:
        loss: the phase's loss.
        trained: names of the parameters, those of `networks` with ``networks.`` in front.
        networks: the objective's own networks.
        layout: how the inputs lie.
        precision: what the pair is run in.
        own: the trained parameters themselves, to find programs that read them past the pair.
    """

    def __init__(
        self,
        loss: LossFunction,
        trained: Sequence[str],
        networks: nn.Module,
        layout: Layout,
        precision: Precision = "float32",
        own: Sequence[Tensor] = (),
    ) -> None:
        self.loss, self.trained, self.networks, self.layout, self.precision = loss, trained, networks, layout, precision
        self.own = own

    def parameters(self, pair: Pair) -> list[Tensor]:
        """The trained parameters, as they are now."""
        named: dict[str, Tensor] = dict(pair.named_parameters())
        named.update((f"networks.{name}", parameter) for name, parameter in self.networks.named_parameters())
        return [named[name] for name in self.trained]

    def __call__(self, pair: Pair, *inputs: Tensor) -> dict[str, Tensor | None]:
        """Run the pair once."""
        batch, beta, state = self.layout.unpack(inputs)
        with _SiteSums() as sites, computing_in(self.precision, inputs[0].device):
            found = self.loss(pair, batch, state, **({"beta": beta} if self.layout.with_beta else {}))
        trained = self.parameters(pair)
        replaced = {n: p for n, p, now in zip(self.trained, self.own, trained, strict=False) if p is not now}
        both = torch.autograd.grad(found.value, [*trained, *replaced.values()], allow_unused=True)
        gradients, unseen = _separate(trained, both[: len(trained)], inputs), both[len(trained) :]
        return {
            LOSS: found.value,
            **{f"{GRADIENT}{name}": gradient for name, gradient in zip(self.trained, gradients, strict=True)},
            **{f"{UNSEEN}{name}": gradient for name, gradient in zip(replaced, unseen, strict=True)},
            **{f"{STATE}{name}": value for name, value in found.state.items()},
            **{f"{MEASURED}{name}": value.detach() for name, value in found.measured.items()},
            **sites.sums,
        }


def _separate(
    parameters: Sequence[Tensor], gradients: Iterable[Tensor | None], inputs: Iterable[Tensor]
) -> list[Tensor | None]:
    """Gradients as ``backward`` would leave them: laid out as their parameters, each in a memory of its own.

    Autograd may hand out one tensor for two parameters, a view or an expanded number, and what comes next (clipping in
    place, a fused optimizer that walks through memory) takes none of these.
    """
    taken = {tensor.untyped_storage().data_ptr() for tensor in (*parameters, *inputs)}
    found: list[Tensor | None] = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            memory = gradient.untyped_storage().data_ptr()
            if gradient.stride() != parameter.stride() or memory in taken:
                gradient = torch.empty_like(parameter).copy_(gradient)
            taken.add(memory)
        found.append(gradient)
    return found


class _SiteSums(Messenger):
    """Sums the log probability of each site as it is computed: a flow that has computed it twice may answer otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: dict[str, Tensor | None] = {}
        self._missing: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {}

    def _postprocess_message(self, msg: Any) -> None:
        if msg["type"] != "sample" or type(msg["fn"]).__name__ == "_Subsample" or msg["infer"].get("_deterministic"):
            return
        name, again = f"{SITE}{msg['name']}", 2
        while name in self.sums:
            name, again = f"{SITE}{msg['name']} (visit {again})", again + 1
        fn = msg["fn"] = copy.copy(msg["fn"])
        fn.log_prob = partial(self._log_prob, name, fn.log_prob)
        self.sums[name], self._missing[name] = None, (fn.log_prob, msg["value"])

    def _log_prob(self, name: str, log_prob: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        found = log_prob(value)
        if self._missing.pop(name, None) is not None:
            self.sums[name] = found.detach().sum()
        return found

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        with torch.no_grad():
            for log_prob, value in list(self._missing.values()) if error[0] is None else ():  # the loss has a closed form
                log_prob(value)
