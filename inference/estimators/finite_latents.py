"""A handler that has every latent of a model enumerated, and refuses by name those that cannot be.

Axes: states (all values of one latent), elements (independent ones of an event).
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import ExpandedDistribution, MaskedDistribution, TorchDistribution
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrogen.errors import ConfigurationError, PairError
from pyrogen.programs.traces import innermost

__all__ = ["FiniteLatents", "too_large", "unmasked"]


def too_large(seen: str, max_bytes: int) -> ConfigurationError:
    """The refusal of a sum over too many values."""
    return ConfigurationError(
        f"{seen} bytes, more than max_bytes={max_bytes:,}: write chains of latents under pyro.markov, so that only "
        "neighbours meet, raise max_bytes, or use ImportanceSampling"
    )


class FiniteLatents(Messenger):
    """Has every latent enumerated, and refuses by name those that cannot be."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.max_bytes = max_bytes

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["value"] is not None or type(msg["fn"]).__name__ == "_Subsample":
            return
        name, element = msg["name"], innermost(msg["fn"])
        called = f"latent '{name}' ({type(element).__name__})"
        if not element.support.is_discrete:
            raise PairError(
                f"{called} is continuous, and enumeration sums over discrete latents only: use ImportanceSampling, which "
                "takes latents of any kind, or a method that moves them by gradients where all latents are continuous"
            )
        if not getattr(element, "has_enumerate_support", False):
            raise PairError(
                f"{called} has no finite list of values to sum over: use ImportanceSampling, or truncate its support "
                "(a Categorical over the values that matter)"
            )
        msg["fn"] = _Listed(msg["fn"], name, self.max_bytes)
        msg["infer"].update(enumerate="parallel", expand=False, num_samples=None)


class _Listed(TorchDistribution):
    """A discrete distribution whose independent elements take all of their values together."""

    has_enumerate_support = True

    def __init__(self, fn: Any, name: str, max_bytes: int) -> None:
        self.fn, self.element, self.name, self.max_bytes = unmasked(fn), innermost(fn), name, max_bytes
        super().__init__(fn.batch_shape, fn.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """See `torch.distributions.Distribution.support`."""
        return self.fn.support

    def log_prob(self, value: Tensor) -> Tensor:
        """See `torch.distributions.Distribution.log_prob`."""
        result: Tensor = self.fn.log_prob(value)
        return result

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - an immutable, as torch has it
        """See `torch.distributions.Distribution.sample`."""
        result: Tensor = self.fn.sample(sample_shape)
        return result

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, (states, 1..., event...)."""
        try:
            values = self.element.enumerate_support(expand=False)  # (values, 1..., element event...)
        except NotImplementedError as error:
            raise PairError(f"latent '{self.name}' cannot be enumerated: {error}") from error
        inner = self.element.event_shape
        elements = self.event_shape[: len(self.event_shape) - len(inner)].numel()
        count, ones = len(values), (1,) * len(self.batch_shape)
        states = count**elements
        size = states * self.event_shape.numel() * values.element_size()
        if size > self.max_bytes:
            raise too_large(
                f"latent '{self.name}' has {count}^{elements} values, which take {float(size):.3g}", self.max_bytes
            )
        place = count ** torch.arange(elements - 1, -1, -1, device=values.device)  # (elements,)
        digits = torch.arange(states, device=values.device).unsqueeze(-1) // place % count  # (states, elements)
        listed: Tensor = values.reshape(count, *inner)[digits]  # (states, elements, element event...)
        return listed.reshape(states, *ones, *self.event_shape)


def unmasked(fn: Any) -> Any:
    """A latent's distribution without masks, under which its probabilities would not sum to one."""
    if isinstance(fn, MaskedDistribution):
        return unmasked(fn.base_dist)
    if isinstance(fn, torch.distributions.Independent):
        return unmasked(fn.base_dist).to_event(fn.reinterpreted_batch_ndims)
    if isinstance(fn, ExpandedDistribution):
        return unmasked(fn.base_dist).expand(fn.batch_shape)
    return fn
