"""Autoregressive distributions of images and sequences, scored in parallel and sampled step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from tqdm.auto import tqdm

from pyrogen.errors import ConfigurationError, DataError
from pyrogen.nets.causal import CausalNetwork, check_causal
from pyrogen.nets.causal.network import evaluation

from .families import Bernoulli, Family
from .unit_grid import Expandable

__all__ = ["Autoregressive"]

# Named axes: ``sample``, ``batch`` and ``event`` as in torch; ``N`` all of sample and batch flattened; see also
# `pyrogen.nets.causal.network`.

_BAR_AFTER = 2.0
"""Seconds after which a progress bar is shown that nobody has asked for."""


class Autoregressive(Expandable):
    r"""The product of the conditionals that a causal network gives.

    With positions in the autoregressive order of the network,

    .. math::
        p(x \mid c) = \prod_i p\big(x_i \mid \eta_i(x_1, \dots, x_{i-1}, c)\big).

    `log_prob` runs the network once, in its mode; `sample` step by step with cached activations, in evaluation mode.

    Reference:
        Larochelle, Murray (2011), *The Neural Autoregressive Distribution Estimator*,
        https://proceedings.mlr.press/v15/larochelle11a.html.

    Args:
        network: a causal network, which holds the autoregressive order.
        family: the conditional distribution of a position given the network's outputs; `Bernoulli` if left out, for a
            network of as many outputs as inputs.
        context: the conditioning, shape (*batch, *network.context_shape), for a network that takes one. Its leading
            dimensions, plates and particles, are the batch.
        event_shape: shape of a datum; (channels, *grid) if left out, or (length,) for sequences of one channel.

    Raises:
        ConfigurationError: the network, the family, the context and the shape don't fit one another.

    Example:
        >>> from pyrogen.nets.causal import CausalLinear
        >>> images = Autoregressive(CausalLinear((3, 3)))
        >>> x = images.sample((5,))
        >>> x.shape, images.log_prob(x).shape
        (torch.Size([5, 1, 3, 3]), torch.Size([5]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    networks: ClassVar[tuple[type[CausalNetwork], ...]] = (CausalNetwork,)
    """The networks that a distribution of this class takes."""

    def __init__(
        self,
        network: CausalNetwork,
        family: Family | None = None,
        context: Tensor | None = None,
        event_shape: Sequence[int] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(network, self.networks):
            names = " or ".join(kind.__name__ for kind in self.networks)
            raise ConfigurationError(f"{type(self).__name__} needs a {names}, not a {type(network).__name__}")
        self.network = network
        if family is None and network.inputs != network.outputs:
            raise ConfigurationError(
                f"a {type(network).__name__} of {network.inputs} inputs and {network.outputs} outputs doesn't say how "
                "values are distributed: give a family"
            )
        self.family = Bernoulli(network.inputs) if family is None else family
        seen, needed = (network.inputs, network.outputs), (self.family.inputs, self.family.outputs)
        if seen != needed:
            raise ConfigurationError(
                f"{type(self.family).__name__} needs a network with (inputs, outputs) = {needed}, but this "
                f"{type(network).__name__} has {seen}"
            )
        full = (self.family.channels, *network.grid)
        event = (full[1:] if len(full) == 2 and full[0] == 1 else full) if event_shape is None else tuple(event_shape)
        if prod(event) != prod(full):
            raise ConfigurationError(f"event_shape {event} has not as many elements as (channels, *grid) = {full}")
        self.context = context
        super().__init__(_batch_shape(network, context), torch.Size(event), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        """The support of the family at every element."""
        return constraints.independent(self.family.support, len(self.event_shape))  # type: ignore[no-untyped-call]

    def _expanded(self, batch_shape: torch.Size) -> dict[str, Any]:
        shape = self.network.context_shape or ()
        return {"context": None if self.context is None else self.context.expand(*batch_shape, *shape)}

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability or density, in nats, of values (..., *event) whose leading dimensions broadcast with the batch.

        Raises:
            DataError: `value` has another event shape, or lies outside the support where validation is on.
            ConfigurationError: the batch doesn't broadcast with the leading dimensions of `value`.
        """
        leading = self._leading(value)
        if self._validate_args:
            self._refuse_off_support(value)
        flat, context = self._flat(value, leading)
        parameters = self.network(self.family.encode(flat), context)  # (N, outputs, *grid)
        log_prob = self.family.log_prob(parameters, flat).flatten(1).sum(1)  # (N,)
        if context is None:  # all elements of the batch are the same distribution, and the network ran once for all
            return log_prob.reshape(value.shape[: value.dim() - len(self.event_shape)]).expand(leading)  # (*leading)
        return log_prob.reshape(leading)  # (*leading)

    def conditionals(self, value: Tensor) -> Tensor:
        """The parameters of every position given the values before it, shape (..., outputs, *grid); see `log_prob`."""
        leading = self._leading(value)
        flat, context = self._flat(value.expand(*leading, *self.event_shape), leading)
        parameters: Tensor = self.network(self.family.encode(flat), context)  # (N, outputs, *grid)
        return parameters.reshape(*leading, *parameters.shape[1:])  # (*leading, outputs, *grid)

    def sample(  # more arguments than torch's, all optional
        self,
        sample_shape: Any = torch.Size(),  # noqa: B008 - an immutable, as torch has it
        *,
        noise: Tensor | None = None,
        progress: bool | None = None,
        compile: bool = False,
    ) -> Tensor:
        """Sample one group of positions after the other; the shape is (*sample, *batch, *event).

        Args:
            sample_shape: leading dimensions of independent draws.
            noise: uniform numbers in [0, 1) to draw from, shape (*sample, *batch, noise of the family, *grid); drawn by
                torch's generator if left out. The same noise gives the same values, compiled or not.
            progress: whether to show a bar; if left out, in a terminal where it takes longer than two seconds.
            compile: whether to compile a step first, by a C++ compiler, which takes up to minutes once for every shape.

        Raises:
            ConfigurationError: the noise has another shape.
        """
        return self._draw(torch.Size(sample_shape) + self.batch_shape, None, None, noise, progress, compile)

    def complete(
        self,
        value: Tensor,
        mask: Tensor,
        *,
        noise: Tensor | None = None,
        progress: bool | None = None,
        compile: bool = False,
    ) -> Tensor:
        """Sample the unknown part of data, every position given those before it in autoregressive order.

        A known value influences later positions alone: this is the exact conditional distribution where the known positions
        come first in the order.

        Args:
            value: data whose unknown elements may hold anything that is finite, shape (..., *event).
            mask: true where a position is known, with all its channels; broadcasts with `value`.
            noise, progress, compile: as of `sample`, with the leading dimensions of the result for (*sample, *batch).

        Returns:
            shape (..., *event), the leading dimensions broadcast with the batch; known elements as they were.

        Raises:
            ConfigurationError: some but not all channels of a position are known.
            DataError: `value` has another event shape, or a known element lies outside the support where validation is on.
        """
        leading = self._leading(value)
        count, full = leading.numel(), (self.family.channels, self.network.positions)
        known = torch.broadcast_to(mask, leading + self.event_shape).reshape(count, *full)  # (N, channels, positions)
        value = value.expand(leading + self.event_shape)
        if self._validate_args and not bool((known == known[:, :1]).all()):
            raise ConfigurationError("a position must be known with all its channels or with none: give a mask that is so")
        draw = self._draw(leading, value, known, noise, progress, compile)
        if self._validate_args:
            self._refuse_off_support(torch.where(known.reshape(value.shape), value, draw))
        return draw

    def __repr__(self) -> str:
        shapes = f"batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)}"
        return f"{type(self).__name__}({type(self.network).__name__}, {type(self.family).__name__}, {shapes})"

    def check_causal(self, cuts: int = 64) -> None:
        """See `pyrogen.nets.causal.check_causal`."""
        check_causal(self.network, cuts)

    @torch.no_grad()
    def _draw(
        self,
        leading: torch.Size,
        value: Tensor | None,
        mask: Tensor | None,
        noise: Tensor | None,
        progress: bool | None,
        compiled: bool,
    ) -> Tensor:
        network, family = self.network, self.family
        shape = (*leading, family.noise, *network.grid)
        if leading.numel() == 0:
            return network.example.new_empty(leading + self.event_shape)
        if noise is None:
            noise = torch.rand(shape, dtype=network.example.dtype, device=network.example.device)
        elif noise.shape != shape:
            raise ConfigurationError(f"the noise must have shape {shape}, not {tuple(noise.shape)}")
        known = None if value is None else value.reshape(-1, family.channels, network.positions).to(noise.dtype)
        where = None if mask is None else mask[:, :1]  # (N, 1, positions)
        noise, context = noise.reshape(-1, family.noise, network.positions), self._context(leading)  # (N, noise, positions)
        disable, delay = None if progress is None else not progress, 0.0 if progress else _BAR_AFTER  # None: in a terminal
        bar: Any = partial(tqdm, disable=disable, delay=delay, leave=False, unit="step")
        with evaluation(network), _validation_kept():
            drawn = network.generate(family, noise, context, known, where, compiled, bar)
        return drawn.reshape(leading + self.event_shape)  # (*leading, *event)

    def _flat(self, value: Tensor, leading: torch.Size) -> tuple[Tensor, Tensor | None]:
        """Values (N, channels, *grid) and contexts (N, *context_shape)."""
        if self.context is not None:
            value = value.expand(leading + self.event_shape)
        flat = value.reshape(-1, self.family.channels, *self.network.grid)  # (N, channels, *grid)
        return flat.to(self.network.example.dtype), self._context(leading)

    def _context(self, leading: torch.Size) -> Tensor | None:
        if self.context is None:
            return None
        shape = self.network.context_shape or ()
        return self.context.expand(*leading, *shape).reshape(-1, *shape)  # (N, *context_shape)

    def _refuse_off_support(self, value: Tensor) -> None:
        good = self.family.support.check(value)  # type: ignore[no-untyped-call]
        if not torch._is_all_true(good):  # as torch asks it, for those who record graphs to know the question
            first = (~good).nonzero()[0].tolist()
            raise DataError(
                f"a value lies outside the support {self.family.support}: {value[tuple(first)].item()!r} at {first}; "
                "scale or binarize the data, or choose another family"
            )


@contextmanager
def _validation_kept() -> Iterator[None]:
    """Restore the validation of distributions, which torch's compiler turns off for good."""
    validated = Distribution._validate_args
    try:
        yield
    finally:
        Distribution.set_default_validate_args(validated)


def _batch_shape(network: CausalNetwork, context: Tensor | None) -> torch.Size:
    kind, shape = type(network).__name__, network.context_shape
    wanted = f"(..., {', '.join(map(str, shape))})" if shape is not None else ""
    if (context is None) != (shape is None):
        needs = f"a context of shape {wanted}" if wanted else "no context"
        raise ConfigurationError(f"this {kind} takes {needs}, but got {'none' if context is None else tuple(context.shape)}")
    if context is None or shape is None:
        return torch.Size()
    split = context.dim() - len(shape)
    if split < 0 or tuple(context.shape[split:]) != shape:
        raise ConfigurationError(f"the context of this {kind} must have shape {wanted}, not {tuple(context.shape)}")
    return context.shape[:split]
