"""What the rules look at: a pair and a batch, with what many rules need of them, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property, wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import pyro
import pyro.poutine as poutine
import torch
from pyro.distributions import Delta
from pyro.poutine import Trace
from torch import Tensor

from pyrogen.batch import Batch, arguments, index, length
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.programs.faults import PROGRAM_FAILS
from pyrogen.programs.functional import shake
from pyrogen.programs.probe import frozen_stay_frozen
from pyrogen.programs.run import Sites, own_gradients, run_guide, run_model
from pyrogen.programs.source_lines import LineRecorder, line_of_error
from pyrogen.programs.structure import Structure, evaluation_mode
from pyrogen.programs.traces import innermost, is_subsample, samples
from pyrogen.programs.vectorization import log_probs
from pyrogen.randomness import forked

__all__ = ["Subject", "memoize"]

Value = TypeVar("Value")


class Subject:
    """A pair and a batch that are checked.

    Attributes:
        pair: the pair; run its programs inside `running`.
        batch: the batch.
        args: the batch as positional arguments of the programs.
        kwargs: the batch as keyword arguments.
        rows: number of data.
        trained: whether the pair has been fitted.
    """

    def __init__(self, pair: Pair, batch: Batch, *, trained: bool = False) -> None:
        self.pair, self.batch, self.trained = pair, batch, trained
        self.args, self.kwargs = arguments(batch)
        self.rows = length(batch)

    @contextmanager
    def running(self, *, training: bool = False, gradients: bool = False) -> Iterator[None]:
        """Make the pair ready to run: its own parameters in Pyro's store, validation off.

        Args:
            training: run in training mode instead of evaluation mode.
            gradients: record gradients.
        """
        mode = nullcontext() if training else evaluation_mode(self.pair)
        before = [module for module in self.pair.modules() if not module.training] if training else []
        with (
            torch.set_grad_enabled(gradients),
            pyro.validation_enabled(False),
            mode,
            frozen_stay_frozen(self.pair),
            self.pair.scope(),
        ):
            try:
                if training:
                    self.pair.train()
                yield
            finally:
                for module in before:
                    module.training = False

    @cached_property
    def refusal(self) -> PairError | None:
        """Why `Pair.structure` refuses the pair, or None."""
        try:
            self.pair.structure(self.batch)
        except PairError as error:
            return error
        except Exception as error:  # whatever the pair makes Pyro or torch raise
            line = line_of_error(error)
            return PROGRAM_FAILS.error(f"the pair cannot be run: {type(error).__name__}: {error}", remedy="", line=line)
        return None

    @property
    def structure(self) -> Structure:
        """See `Pair.structure`; only where `refusal` is None."""
        return self.pair.structure(self.batch)

    @cached_property
    def traces(self) -> tuple[Trace, Trace]:
        """Traces of the guide, and of the model replayed against it, in evaluation mode, on the batch.

        Each sample site has its place in the user's code under ``"line"``.
        """
        with self.running(), forked(self.batch, seed=0):
            return self.trace()

    def trace(self, batch: Batch | None = None) -> tuple[Trace, Trace]:
        """Trace guide and model anew, on the subject's batch or another; call inside `running`."""
        args, kwargs = (self.args, self.kwargs) if batch is None else arguments(batch)
        with own_gradients(self.pair), poutine.trace() as guide, LineRecorder():
            self.pair.guide(*args, **kwargs)
        with own_gradients(self.pair), poutine.trace() as model, poutine.replay(trace=guide.trace), LineRecorder():
            self.pair.model(*args, **kwargs)
        return guide.trace, model.trace

    @property
    def guide(self) -> dict[str, Any]:
        """Sample sites of the guide, by name, as in a trace."""
        return dict(samples(self.traces[0]))

    @property
    def model(self) -> dict[str, Any]:
        """Sample sites of the model, by name, as in a trace."""
        return dict(samples(self.traces[1]))

    def line_of(self, site: str, *, guide: bool = False) -> str | None:
        """Find a site's statement in the user's code: in the model first, or with `guide` in the guide."""
        for sites in (self.guide, self.model) if guide else (self.model, self.guide):
            if site in sites:
                line: str | None = sites[site].get("line")
                return line
        return None

    def run(self, *, particles: int | None = None, batch: Batch | None = None) -> tuple[Sites, Sites]:
        """Run guide and model on new draws (`pyrogen.run`) and return their sites; call inside `running`.

        Args:
            particles: size of a leftmost particle dimension, or None for a run without one.
            batch: another batch than the subject's.
        """
        args, kwargs = (self.args, self.kwargs) if batch is None else arguments(batch)
        nesting = self.structure.nesting
        guide = run_guide(self.pair, args, kwargs, particles=particles, nesting=nesting)
        latents, indices = guide.latents(), guide.indices
        return guide, run_model(self.pair, args, kwargs, latents, indices=indices, particles=particles, nesting=nesting)

    @cached_property
    def draws(self) -> dict[str, Tensor]:
        """Values of the latents in `traces`, those too that Pyro sums out, without those that a Delta computes."""
        return {
            name: site["value"]
            for name, site in {**self.model, **self.guide}.items()
            if not site["is_observed"] and not isinstance(innermost(site["fn"]), Delta)
        }

    @cached_property
    def indices(self) -> dict[str, Tensor]:
        """The rows that plates draw in `traces`."""
        nodes: dict[str, Any] = {name: node for trace in self.traces for name, node in trace.nodes.items()}
        return {name: node["value"] for name, node in nodes.items() if is_subsample(node)}

    def log_probs(
        self, batch: Batch | None = None, latents: dict[str, Tensor] | None = None
    ) -> dict[tuple[str, str], tuple[int | None, Tensor]]:
        """Compute the log densities of all sites, in nats, not masked, under fixed random numbers; call inside `running`.

        Args:
            batch: another batch than the subject's.
            latents: values of latents; `draws` if not given.

        Returns:
            The dimension of the data plate, or None, and the log densities, by ``("guide" or "model", site)``.
        """
        with forked(self.batch, seed=1):
            chosen = self.batch if batch is None else batch
            values = self.draws if latents is None else latents
            return log_probs(self.pair, chosen, self.structure.nesting, values, self.indices)

    @cached_property
    def replacement(self) -> tuple[int, Batch] | None:
        """The row of a datum, and the batch with another datum in its place; None where all data are equal."""
        tensors = [value for value in (*self.args, *self.kwargs.values()) if isinstance(value, Tensor)]
        for datum in range(min(self.rows, 64)):
            other = (datum + 1) % self.rows
            if any(not torch.equal(tensor[datum], tensor[other]) for tensor in tensors):
                rows = torch.arange(self.rows, device="cpu")
                rows[datum] = other
                return datum, index(self.batch, rows.to(tensors[0].device))
        return None

    def shake_parameters(self) -> None:
        """Add a little noise to all parameters (`pyrogen.programs.functional.shake`)."""
        shake(self.pair.parameters())

    def log_weight(self, guide: Sites, model: Sites) -> Tensor:
        """Sum the model's log densities less the guide's over all sites, in nats: a scalar with a gradient."""
        terms = [site.log_prob().sum() for site in model.visited.values()]
        terms += [-site.log_prob().sum() for site in guide.visited.values()]
        return torch.stack(terms).sum()


def memoize(compute: Callable[[Subject], Value]) -> Callable[[Subject], Value]:
    """Keep what a function computes of a subject, or raises, for later calls with the same subject."""
    known: WeakKeyDictionary[Subject, tuple[Value | None, Exception | None]] = WeakKeyDictionary()

    @wraps(compute)
    def look_up(subject: Subject) -> Value:
        if subject not in known:
            try:
                known[subject] = compute(subject), None
            except Exception as error:  # whatever the program raises
                known[subject] = None, error
        value, failure = known[subject]
        if failure is not None:
            raise failure
        return value  # type: ignore[return-value]

    return look_up
