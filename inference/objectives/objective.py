"""What training minimises: an objective has one phase, or several that train different parameters against each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from torch import Tensor, nn

from pyrogen.batch import Batch
from pyrogen.pair import Pair

__all__ = ["Loss", "LossFunction", "Objective", "Phase", "State"]

State: TypeAlias = Mapping[str, Tensor]
"""What an objective carries from step to step, such as a running average: tensors by name, saved in checkpoints."""


class Loss(NamedTuple):
    """What one evaluation of a loss gives."""

    value: Tensor
    """(), in nats per datum; its gradient is what training follows."""
    state: State
    """To be handed to the next evaluation, of this phase or another."""
    measured: Mapping[str, Tensor] = {}
    """Scalars for the history, by name, without gradients."""


class LossFunction(Protocol):
    """Computes a phase's loss on a batch, from the state that the last evaluation gave (empty at first)."""

    def __call__(self, pair: Pair, batch: Batch, state: State, *, beta: float | Tensor = 1.0) -> Loss:
        """See `Objective.compute`."""


@dataclass(frozen=True)
class Phase:
    """One loss and the parameters that it trains, with an optimizer of its own."""

    name: str
    """Column of the history; ``"loss"`` where there is one phase."""
    loss: LossFunction
    parameters: Sequence[nn.Parameter] | None = None
    """What it trains; None for everything of the pair and of the objective's networks that requires a gradient."""
    every: int = 1
    """It is taken at every n-th training step: a critic is ahead of a generator with ``every=5``."""


class Objective(ABC):
    """What training minimises.

    To write one, implement `compute`; where several players train against each other, `phases` too, each with a loss of the
    form of `compute`. Networks of the objective's own (a critic) go into `networks`: they are moved, trained, saved and
    restored with the pair. A bound on the evidence is an `EvidenceBound`, which needs only the bound.

    Example:
        A generator and a critic that train against each other::

            class Adversarial(Objective):
                name, needs = "adversarial", "draws"

                def __init__(self, critic):
                    super().__init__()
                    self.networks["critic"] = critic

                def phases(self, pair, batch):
                    return [
                        Phase("critic", self.critic_loss, list(self.networks.parameters())),
                        Phase("generator", self.compute, list(pair.parameters()), every=5),
                    ]
    """

    name: str
    particles: int = 1
    """Draws for each datum."""
    needs: Literal["densities", "draws"] = "densities"
    """Whether it evaluates the densities of the pair's sites, or only draws from its programs."""
    divides_by: Literal["plate", "batch"] = "plate"
    """Whether the loss of a subsample is that of the whole data plate divided by the plate's size, or by the batch's."""

    def __init__(self) -> None:
        self.networks: nn.ModuleDict = nn.ModuleDict()

    @abstractmethod
    def compute(self, pair: Pair, batch: Batch, state: State, *, beta: float | Tensor = 1.0) -> Loss:
        """Compute the loss on a batch, in nats per datum.

        Args:
            pair: the pair, in the mode (training or evaluation) that the caller chose.
            batch: the data.
            state: what the last call returned; empty before the first.
            beta: factor of the divergence from guide to prior (KL warm-up); 1 gives a bound.

        Raises:
            ConfigurationError: `beta` is not 1, and the objective has no divergence to weigh.
        """

    def phases(self, pair: Pair, batch: Batch) -> Sequence[Phase]:
        """The phases of a training step, in their order; one, which trains everything, unless a subclass says otherwise.

        Args:
            pair: the pair, whose parameters all exist.
            batch: a batch like those to come.
        """
        return [Phase("loss", self.compute)]

    def loss(self, pair: Pair, batch: Batch, *, beta: float | Tensor = 1.0) -> Tensor:
        """The loss alone, (), in nats per datum, as at a first step; see `compute`, which carries a state on."""
        return self.compute(pair, batch, {}, beta=beta).value
