"""The hidden Markov model: evidence and posterior by the forward and backward recursions."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.nets import positive_size
from pyrogen.pair import Pair

from .parts import elementwise
from .sequences import counted, counting, sequence_shape

__all__ = ["HiddenMarkov"]

# Named axes: particles, data, steps, states, features (of a step).


class HiddenMarkov(Pair):
    r"""A chain of hidden states, each of which shows some binary features.

    .. math::
        z_0 \sim \operatorname{Cat}(\pi), \qquad z_t \sim \operatorname{Cat}(A_{z_{t-1}}), \qquad
        x_t \sim \operatorname{Bernoulli}(B_{z_t}), \qquad
        q(z_t = s \mid z_{t-1}, x_t) \propto \exp(F_{z_{t-1}, s} + G_s \cdot x_t + g_s).

    The guide sees the step before and the present data, and can be the optimal proposal of a filter (`set_optimal_filter`).

    Reference:
        Rabiner (1989), *A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition*,
        https://doi.org/10.1109/5.18626.

    Args:
        shape: shape of a datum, of elements in {0, 1}: (steps,), or (..., features of a step). Data arrive flattened.
        states: number of hidden states.

    Example:
        >>> pair = HiddenMarkov((4, 3), states=2)
        >>> x = torch.ones(5, 12)
        >>> bool((pair.elbo(x) <= pair.log_evidence(x)).all())
        True
    """

    def __init__(self, shape: Sequence[int], states: int = 4) -> None:
        super().__init__()
        self.steps, self.features = sequence_shape(shape)
        states = positive_size("states", states)
        self.initial = nn.Parameter(torch.zeros(states))  # log pi, up to a constant
        self.transition = nn.Parameter(torch.eye(states) + 0.5 * torch.randn(states, states))  # log A, likewise
        self.emission = nn.Parameter(torch.randn(states, self.features))  # logits of B
        self.guide_initial = nn.Parameter(torch.zeros(states))
        self.guide_transition = nn.Parameter(torch.zeros(states, states))  # F
        self.encoder = nn.Linear(self.features, states)  # G, g

    def model(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Sites ``z_t``, a state, and ``x_t``, observed, of event shape (features,); see `counting` for the lengths.

        The data have shape (data, steps * features).
        """
        logits: Tensor = self.initial
        with pyro.plate(self.data_plate, len(x), dim=-1):
            for step in pyro.markov(range(self.steps)):
                with counting(lengths, step):
                    z = pyro.sample(f"z_{step}", dist.Categorical(logits=logits))  # (..., data)
                    seen = elementwise(dist.Bernoulli(logits=self.emission[z]))
                    pyro.sample(f"x_{step}", seen, obs=self._step(x, step))
                logits = self.transition[z]  # (..., data, states)

    def guide(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Sites ``z_t``; see `model`."""
        logits: Tensor = self.guide_initial
        with pyro.plate(self.data_plate, len(x), dim=-1):
            for step in pyro.markov(range(self.steps)):
                with counting(lengths, step):
                    proposal = dist.Categorical(logits=logits + self.encoder(self._step(x, step)))
                    z = pyro.sample(f"z_{step}", proposal)  # (..., data)
                logits = self.guide_transition[z]  # (..., data, states)

    def log_evidence(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Exact log p(x), in nats, shape (data,), by the forward recursion; of a shorter sequence, of the steps it has."""
        transition = self.transition.log_softmax(-1)
        joint = self.initial.log_softmax(-1) + x.new_zeros(len(x), 1)  # (data, states), log p(z_t, x_{<t})
        for step in range(self.steps):
            joint = joint + counted(self._emission(x, step), lengths, step)
            if step + 1 < self.steps:
                joint = (joint.unsqueeze(-1) + transition).logsumexp(-2)
        return joint.logsumexp(-1)

    def posterior(self, x: Tensor) -> dist.Categorical:
        """The exact posterior of each state given a sequence of all steps: batch shape (data, steps)."""
        transition = self.transition.log_softmax(-1)
        before = [self.initial.log_softmax(-1) + self._emission(x, 0)]  # log p(z_t, x_{<=t})
        for step in range(1, self.steps):
            before.append((before[-1].unsqueeze(-1) + transition).logsumexp(-2) + self._emission(x, step))
        after = [torch.zeros_like(before[0])]  # log p(x_{>t} | z_t), from the last step on
        for step in reversed(range(1, self.steps)):
            after.append((transition + (self._emission(x, step) + after[-1]).unsqueeze(-2)).logsumexp(-1))
        return dist.Categorical(logits=torch.stack(before, 1) + torch.stack(after[::-1], 1))

    def elbo(self, x: Tensor) -> Tensor:
        """The exact ELBO of the guide as it is for sequences of all steps, in nats, shape (data,); differentiable."""
        forward, prior = self.guide_initial.unsqueeze(0), self.initial.log_softmax(-1).unsqueeze(0)  # (1, states)
        marginal = x.new_ones(len(x), 1)  # (data, states before), of the guide
        total = x.new_zeros(len(x))
        for step in range(self.steps):
            guide = (forward + self.encoder(self._step(x, step)).unsqueeze(-2)).log_softmax(-1)  # (data, before, states)
            gain = prior + self._emission(x, step).unsqueeze(-2) - guide
            joint = marginal.unsqueeze(-1) * guide.exp()  # (data, before, states)
            total = total + (joint * gain).sum((-2, -1))
            marginal = joint.sum(-2)
            forward, prior = self.guide_transition, self.transition.log_softmax(-1)
        return total

    @torch.no_grad()
    def set_optimal_filter(self) -> None:
        """Set the guide to the posterior given the step before and the present data, the optimal proposal of a filter."""
        self.guide_initial.copy_(self.initial)
        self.guide_transition.copy_(self.transition.log_softmax(-1))
        self.encoder.weight.copy_(self.emission)
        self.encoder.bias.copy_(-nn.functional.softplus(self.emission).sum(-1))

    def _emission(self, x: Tensor, step: int) -> Tensor:
        """Log p(x_t | z_t) of each state, shape (data, states)."""
        return self._step(x, step) @ self.emission.mT - nn.functional.softplus(self.emission).sum(-1)

    def _step(self, x: Tensor, step: int) -> Tensor:
        """The data of a step, shape (data, features)."""
        return x[:, step * self.features : (step + 1) * self.features]
