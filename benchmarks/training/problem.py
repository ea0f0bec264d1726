"""What is trained (`Workload`), how much of it is run at once (`Problem`), and who runs it (`Peer`, `Runner`).

Named axes: rows (of the data set), steps, data (of one batch), event.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pyro import infer
from torch import Tensor

from pyrogen.inference import Objective
from pyrogen.pair import Pair

__all__ = [
    "DEVICE",
    "ByHand",
    "Left",
    "Peer",
    "Problem",
    "Program",
    "PyroELBO",
    "Runner",
    "TorchBatches",
    "Wanted",
    "Workload",
]

PyroELBO: TypeAlias = infer.ELBO
DEVICE = torch.device(os.environ.get("PYROGEN_BENCHMARK_DEVICE", "cpu"))
"""Where the torch peers run."""


class Left(Exception):
    """A peer that cannot run here, and why."""


@dataclass(frozen=True)
class Problem:
    """So many optimizer steps on given data."""

    data: tuple[NDArray[Any], ...]
    """Each of shape (rows, ...)."""
    rows: NDArray[np.int64] | None
    """The rows of the batch of each step, drawn beforehand, (steps, data); without them each batch is all data."""
    steps: int
    lr: float

    @property
    def count(self) -> int:
        """Data of one batch."""
        return len(self.data[0]) if self.rows is None else self.rows.shape[1]

    def held(self) -> Problem:
        """The problem to compare losses on: the first batch in every step, and a learning rate of zero."""
        if self.rows is None:
            return Problem(self.data, None, self.steps, 0.0)
        rows = np.broadcast_to(np.arange(self.count), self.rows.shape).copy()
        return Problem(tuple(values[self.rows[0]] for values in self.data), rows, self.steps, 0.0)


class TorchBatches:
    """The batches of all steps as tensors, gathered one by one from data and row numbers that lie on the device."""

    def __init__(self, problem: Problem) -> None:
        self.steps = problem.steps
        self.data = tuple(torch.from_numpy(values).to(DEVICE) for values in problem.data)
        self.rows = None if problem.rows is None else list(torch.from_numpy(problem.rows).to(DEVICE).unbind())

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """A tuple of tensors for each step."""
        if self.rows is None:
            for _ in range(self.steps):
                yield self.data
        else:
            for row in self.rows:
                yield tuple(values.index_select(0, row) for values in self.data)

    @property
    def first(self) -> tuple[Tensor, ...]:
        """The batch of the first step."""
        return next(iter(self))


class Runner(ABC):
    """A peer with its parameters and its optimizer, ready to run the steps of a problem again and again."""

    problem: Problem

    @abstractmethod
    def losses(self) -> NDArray[np.float64]:
        """Run all steps; the loss of each, in nats per datum, (steps,)."""

    def seconds(self) -> float:
        """Run all steps; seconds a step. All of the work is done when the clock stops."""
        start = time.perf_counter()
        self.losses()
        return (time.perf_counter() - start) / self.problem.steps


@dataclass(frozen=True)
class Peer:
    """Who runs a problem."""

    name: str
    make: Callable[[Problem], Runner]
    """Makes a runner, always from the same parameters; raises `Left` where it cannot."""
    compiler: Literal["inductor", "xla"] | None = None
    """What compiles its steps first; inductor runs a C++ compiler, and so is left out of a quick run."""
    starts_anew: bool = False
    """Whether every turn traces and compiles again, so that there is no first call to tell from the others."""

    @property
    def has_first_call(self) -> bool:
        """Whether its first call takes longer than the others."""
        return self.compiler is not None and not self.starts_anew


@dataclass(frozen=True)
class Wanted:
    """What the time of a peer should be at most, as a share of another's."""

    peer: str
    other: str
    at_most: float


@dataclass(frozen=True)
class ByHand:
    """A loss without any probabilistic programming."""

    parameters: list[torch.nn.Parameter]
    loss: Callable[..., Tensor]
    """From the tensors of a batch to the loss in nats per datum."""


@dataclass(frozen=True)
class Program:
    """What NumPyro needs."""

    model: Callable[..., None]
    guide: Callable[..., Any]
    elbo: Any


class Workload(ABC):
    """A model, a guide and an objective, as each of the libraries writes them, with the same initial parameters.

    Args:
        quick: so small that a test can run it.
    """

    letter: str
    title: str
    note: str = ""
    """Where the peers differ in more than their code."""
    wanted: tuple[Wanted, ...] = ()
    steps: int
    """Steps in one turn."""

    def __init__(self, quick: bool = False) -> None:
        self.quick = quick

    @abstractmethod
    def problem(self, steps: int, lr: float = 1e-3) -> Problem:
        """The data and the batches."""

    @abstractmethod
    def pair(self) -> Pair:
        """The pair, always with the same parameters."""

    @abstractmethod
    def objective(self) -> Objective:
        """What pyrogen maximises; raises `Left` where it has no such objective."""

    @abstractmethod
    def pyro_elbos(self) -> Mapping[str, Callable[[], PyroELBO]]:
        """Pyro's objectives by what they are called in the table; the first, called '', is timed without validation, too."""

    @abstractmethod
    def by_hand(self) -> ByHand:
        """The same in torch alone."""

    @abstractmethod
    def numpyro(self) -> Program:
        """The same in NumPyro; called only where it is installed."""

    def programs(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """The model and the guide for Pyro's own SVI."""
        import pyro

        with DEVICE:
            pair = self.pair()

        def model(*batch: Tensor) -> None:
            pyro.module("pair", pair)
            pair.model(*batch)

        return model, pair.guide
