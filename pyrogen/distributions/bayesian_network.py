"""Discrete Bayesian networks: a distribution, with exact marginals by enumeration.

Named axes: ``...`` the batch, ``variables`` the event; a table of a joint distribution has one axis for each variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrogen.errors import ConfigurationError, DataError

from .bayesian_variable import Node, Variable, ancestors_first
from .unit_grid import Expandable

__all__ = ["BayesianNetwork"]

LARGEST_TABLE = 2**26
"""The most joint states that are enumerated: 512 MiB of float64."""


class BayesianNetwork(Expandable):
    r"""Discrete variables, each with a distribution given its parents.

    .. math::
        p(x) = \prod_v p(x_v \mid x_{\mathrm{parents}(v)}).

    A value is a vector of state numbers, one for each variable in the order in which they were given. `marginal` and
    `log_evidence` are exact, by enumeration of the ancestors of the variables asked for and observed. All answers can be
    differentiated with respect to tables and networks, which is how tables are learned from data with missing values.

    Reference:
        J. Pearl (1988), *Probabilistic Reasoning in Intelligent Systems*, https://doi.org/10.1016/C2009-0-27609-4.

    Args:
        variables: the variables, in any order; parents must be among them, without a circle.

    Raises:
        ConfigurationError: a name that occurs twice, a parent that does not exist, a circle of parents, a table whose
            shape does not fit.

    Example:
        >>> rain = Variable("rain", torch.tensor([0.8, 0.2]).log())
        >>> wet = Variable("wet", torch.tensor([[0.9, 0.1], [0.3, 0.7]]).log(), parents=["rain"])
        >>> lawn = BayesianNetwork([rain, wet])
        >>> lawn.log_prob(torch.tensor([1, 1])).exp()
        tensor(0.1400)
        >>> lawn.marginal("rain", given={"wet": 1})
        tensor([0.3636, 0.6364])
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - as torch has it
    has_enumerate_support = True

    def __init__(self, variables: Sequence[Variable], validate_args: bool | None = None) -> None:
        self._nodes = ancestors_first(variables)
        self.names = tuple(variable.name for variable in variables)
        self._node = {node.name: node for node in self._nodes}
        self._place = {name: number for number, name in enumerate(self.names)}
        shapes = [node.batch_shape for node in self._nodes]
        try:
            batch_shape = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ConfigurationError(f"the batch shapes of the tables do not broadcast: {shapes}") from error
        super().__init__(batch_shape, torch.Size([len(self.names)]), validate_args=validate_args)

    @property
    def states(self) -> tuple[int, ...]:
        """How many values each variable takes, in the order of `names`."""
        return tuple(self._node[name].states for name in self.names)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        """State numbers of every variable."""
        each = [constraints.integer_interval(0, states - 1) for states in self.states]  # type: ignore[no-untyped-call]
        return constraints.independent(constraints.stack(each, -1), 1)  # type: ignore[no-untyped-call]

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability, in nats, shape (...), of state numbers (..., variables), integers or floats."""
        if self._validate_args:
            self._validate_sample(value)
        index = value.long()
        shape = torch.broadcast_shapes(index.shape[:-1], self.batch_shape)  # type: ignore[no-untyped-call]
        terms = []
        for node in self._nodes:
            log_conditional = self._conditional(node, index).expand(*shape, -1)  # (..., states)
            own = index[..., self._place[node.name]].expand(shape).unsqueeze(-1)  # (..., 1)
            terms.append(log_conditional.gather(-1, own).squeeze(-1))  # (...)
        return torch.stack(terms).sum(0)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - an immutable, as torch has it
        """Draw state numbers, integers (*sample_shape, ..., variables), parents before children."""
        shape = self._extended_shape(torch.Size(sample_shape))  # (*sample_shape, ..., variables)
        value = torch.zeros(shape, dtype=torch.long, device=self._device())
        for node in self._nodes:
            logits = self._conditional(node, value).expand(*shape[:-1], -1)  # (..., states)
            draw = torch.distributions.Categorical(logits=logits, validate_args=False)
            value[..., self._place[node.name]] = draw.sample()  # type: ignore[no-untyped-call]
        return value

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """See `torch.distributions.Distribution.enumerate_support`; the last variable is fastest."""
        _check_size("all variables", self.states)
        axes = [torch.arange(states, device=self._device()) for states in self.states]
        values = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)  # (all values, variables)
        values = values.reshape(-1, *(1 for _ in self.batch_shape), len(self.names))  # (all values, 1, ..., 1, variables)
        return values.expand(-1, *self.batch_shape, -1) if expand else values

    def marginal(self, *names: str, given: Mapping[str, int | Tensor] | None = None) -> Tensor:
        r"""Probabilities of some variables given some others, exactly.

        .. math::
            p(x_{\mathrm{names}} \mid x_{\mathrm{given}}) \propto \sum_{\mathrm{others}} p(x).

        Args:
            names: the variables asked for.
            given: observed state numbers by name, integers or tensors that broadcast with the batch.

        Returns:
            shape (..., states of each name, as listed).

        Raises:
            ConfigurationError: a name is not known, listed twice, or asked for and given at once; too many states.
            DataError: with validation on, a given state does not exist, or the evidence is impossible.

        Example:
            >>> coin = Variable("coin", torch.zeros(2))
            >>> copy = Variable("copy", torch.eye(2).log(), parents=["coin"])
            >>> BayesianNetwork([coin, copy]).marginal("coin", "copy")
            tensor([[0.5000, 0.0000],
                    [0.0000, 0.5000]])
        """
        observed = dict(given or {})
        if not names or len(set(names)) < len(names) or set(names) & set(observed):
            raise ConfigurationError(f"ask for variables that are not given, each once, not for {names} given {[*observed]}")
        joint = self._log_sum(names, observed)  # (..., states of each name)
        log_evidence = joint.logsumexp(tuple(range(-len(names), 0)), keepdim=True)
        if self._validate_args and bool((log_evidence == -torch.inf).any()):
            raise DataError(f"the evidence {observed} is impossible: nothing can be concluded from it")
        return (joint - log_evidence).exp()

    def log_evidence(self, given: Mapping[str, int | Tensor]) -> Tensor:
        r"""Log probability of some variables' states, summed over all others, in nats, shape (...).

        It is minus infinity where the evidence is impossible. The states are as of `marginal`.

        Raises:
            ConfigurationError: a name is not known; too many states.
            DataError: with validation on, a given state does not exist.
        """
        return self._log_sum((), dict(given))

    @property
    def mean(self) -> Tensor:
        """The expected state number of each variable, shape (..., variables), exactly; see `marginal`."""
        return torch.stack([self._expected(name, lambda state: state) for name in self.names], -1)

    @property
    def variance(self) -> Tensor:
        """See `torch.distributions.Distribution.variance`; exact, as `mean`."""
        squares = torch.stack([self._expected(name, torch.square) for name in self.names], -1)
        return squares - self.mean.square()

    def entropy(self) -> Tensor:
        """The entropy, in nats, by the chain rule: that of each variable given its parents, exactly; see `marginal`."""
        total = torch.zeros(self.batch_shape, device=self._device())
        for node in self._nodes:
            family = tuple(range(-len(node.parents) - 1, 0))
            joint, conditional = self.marginal(*node.parents, node.name), node.table(self._device())
            total = total - (joint * torch.where(joint > 0, conditional, 0)).sum(family)
        return total

    def _expected(self, name: str, function: Callable[[Tensor], Tensor]) -> Tensor:
        probabilities = self.marginal(name)  # (..., states)
        return probabilities @ function(torch.arange(probabilities.shape[-1], device=probabilities.device).to(probabilities))

    def __repr__(self) -> str:
        terms = (f"{node.name} | {', '.join(node.parents)}" if node.parents else node.name for node in self._nodes)
        return f"BayesianNetwork({'; '.join(terms)})"

    def _conditional(self, node: Node, index: Tensor) -> Tensor:
        """Log probabilities of a variable's states for values (..., variables), shape (..., states)."""
        return node.given(index[..., [self._place[parent] for parent in node.parents]])

    def _log_sum(self, names: Sequence[str], given: dict[str, int | Tensor]) -> Tensor:
        """Log joint probability of names and evidence, all else summed out, shape (..., states of each name)."""
        relevant = self._ancestors([*names, *given])
        known = {name: self._observed(name, state) for name, state in given.items()}
        hidden = [node.name for node in self._nodes if node.name in relevant - known.keys() - set(names)]
        axes = [*hidden, *names]
        sizes = [self._node[name].states for name in axes]
        _check_size(f"the {len(axes)} variables that matter", sizes)
        device = self._device()
        joint = torch.zeros((), device=device)
        for node in self._nodes:
            if node.name in relevant:
                _check_size(f"'{node.name}' and its parents", [*node.rows, node.states])
                joint = joint + _along_axes(node, node.table(device), axes, known)
        batch = torch.broadcast_shapes(joint.shape[: joint.dim() - len(axes)], self.batch_shape)  # type: ignore[no-untyped-call]
        joint = joint.expand([*batch, *sizes])
        return joint.logsumexp(tuple(range(len(batch), len(batch) + len(hidden)))) if hidden else joint

    def _observed(self, name: str, state: int | Tensor) -> Tensor:
        index = torch.as_tensor(state, device=self._device())
        states = self._node[name].states
        if self._validate_args and not bool(((index >= 0) & (index < states) & (index == index.long())).all()):
            raise DataError(f"'{name}' has the states 0, ..., {states - 1}, not {state}")
        return index.long()

    def _ancestors(self, names: Sequence[str]) -> set[str]:
        """The variables named and all that they depend on."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in self._node:
                raise ConfigurationError(f"no variable '{name}': there are {', '.join(self.names)}")
            if name not in found:
                found.add(name)
                waiting += self._node[name].parents
        return found

    def _device(self) -> torch.device:
        return next((node.device for node in self._nodes if node.device is not None), torch.device("cpu"))


def _along_axes(node: Node, table: Tensor, axes: Sequence[str], known: Mapping[str, Tensor]) -> Tensor:
    """A table with what is known put in, laid along the axes of a joint table, (..., one axis for each name)."""
    family = [*node.parents, node.name]
    batch = tuple(table.shape[: table.dim() - len(family)])
    given = [name for name in family if name in known]
    batch = tuple(torch.broadcast_shapes(batch, *(known[name].shape for name in given)))  # type: ignore[no-untyped-call]
    table = table.expand(*batch, *table.shape[table.dim() - len(family) :])
    for name in given:
        here = len(batch) + family.index(name)
        chosen = known[name].expand(batch).reshape(*batch, *(1 for _ in family))  # (..., 1, ..., 1)
        table = table.gather(here, chosen.expand(*table.shape[:here], 1, *table.shape[here + 1 :]))
    free = [name for name in family if name not in known]
    by_axis = sorted(family, key=lambda name: axes.index(name) if name in free else -1)  # what is given has size 1
    table = table.permute([*range(len(batch)), *(len(batch) + family.index(name) for name in by_axis)])  # (..., by_axis)
    sizes = dict(zip(by_axis, table.shape[len(batch) :], strict=True))
    return table.reshape([*batch, *(sizes[name] if name in free else 1 for name in axes)])  # (..., axes)


def _check_size(what: str, states: Sequence[int]) -> None:
    if prod(states) > LARGEST_TABLE:
        raise ConfigurationError(
            f"{what} have {prod(states):.3g} joint states, more than the {LARGEST_TABLE} that are enumerated: "
            "ask for fewer variables, give more of them, or estimate from samples"
        )
