"""A distribution over a finite list of vectors, such as the exact posterior of a discrete latent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints, register_kl

from pyrogen.errors import ConfigurationError

from .unit_grid import Expandable, expected_log_ratio

__all__ = ["Enumerated"]

# Named axes: states, event.


class Enumerated(Expandable):
    r"""A probability for each vector of a list.

    .. math::
        P(z = s_i) = e^{l_i} \Big/ \sum_j e^{l_j}.

    Args:
        states: the vectors :math:`s`, each once, shape (states, event).
        logits: unnormalized log probabilities :math:`l`, shape (..., states).

    Raises:
        ConfigurationError: the shapes do not fit.

    Example:
        >>> states = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> Enumerated(states, torch.zeros(3)).mean
        tensor([0.3333, 0.6667])
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012 - as torch has it

    def __init__(self, states: Tensor, logits: Tensor, validate_args: bool | None = None) -> None:
        if states.dim() != 2 or logits.dim() < 1 or logits.shape[-1] != states.shape[0]:
            raise ConfigurationError(
                "states must have shape (states, event) and logits (..., states), not "
                f"{tuple(states.shape)} and {tuple(logits.shape)}"
            )
        self.states = states
        self.logits = logits - logits.logsumexp(-1, keepdim=True)
        super().__init__(logits.shape[:-1], states.shape[1:], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """The listed vectors."""
        return _OneOf(self.states)

    @property
    def probs(self) -> Tensor:
        """The probability of each state, shape (..., states)."""
        return self.logits.exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability, in nats; minus infinity for a vector that is not listed."""
        if self._validate_args:
            self._validate_sample(value)
        return self._log_prob(value)

    def _log_prob(self, value: Tensor) -> Tensor:
        match = _matches(value, self.states)  # (..., states)
        return torch.where(match, self.logits, -torch.inf).logsumexp(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - an immutable, as torch has it
        """See `torch.distributions.Distribution.sample`."""
        indices = torch.distributions.Categorical(logits=self.logits, validate_args=False)
        index: Tensor = indices.sample(torch.Size(sample_shape))  # type: ignore[no-untyped-call]
        return self.states[index]  # (..., event)

    @property
    def mean(self) -> Tensor:
        """See `torch.distributions.Distribution.mean`."""
        return self.probs @ self.states.to(self.logits.dtype)

    @property
    def variance(self) -> Tensor:
        """See `torch.distributions.Distribution.variance`."""
        deviation = self.states.to(self.logits.dtype) - self.mean.unsqueeze(-2)  # (..., states, event)
        return (self.probs.unsqueeze(-1) * deviation.square()).sum(-2)

    def entropy(self) -> Tensor:
        """The entropy, in nats."""
        return -expected_log_ratio(self.logits, torch.zeros_like(self.logits), -1)


@register_kl(Enumerated, Enumerated)  # type: ignore[no-untyped-call, untyped-decorator]
def _divergence(p: Enumerated, q: Enumerated) -> Tensor:
    """The Kullback-Leibler divergence, in nats; infinite where `p` has a vector that `q` does not list."""
    values = p.states.reshape(-1, *(1 for _ in q.batch_shape), *p.event_shape)  # (states, 1, ..., 1, event)
    return expected_log_ratio(p.logits, q._log_prob(values).movedim(0, -1), -1)


class _OneOf(constraints.Constraint):
    is_discrete = True
    event_dim = 1

    def __init__(self, states: Tensor) -> None:
        self.states = states
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        return _matches(value, self.states).any(-1)


def _matches(value: Tensor, states: Tensor) -> Tensor:
    return (value.unsqueeze(-2) == states).all(-1)  # (..., states)
