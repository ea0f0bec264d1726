"""The batches of a data loader, in an order that a resumed run meets again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pyrogen.batch import Batch, map_tensors
from pyrogen.data.conversion import as_batch
from pyrogen.errors import DataError

__all__ = ["STREAM_EPOCH", "LoaderBatches"]

STREAM_EPOCH = 1000
"""Steps between validations and checkpoints, an epoch, of data without a length."""


class LoaderBatches:
    """The batches of a data loader by the number of the step, epoch after epoch.

    The generators of torch that loader and data set draw from are seeded for each epoch by the run's seed, or the one that
    the loader's own generator was given, and are apart from those that the pair draws from: a resumed run goes on with the
    batch that would have come next. Samplers of the user's own and data sets without an end can't be wound back: a resumed
    run says so, and begins with their first batch.

    Args:
        loader: the loader; its batches, workers and collate function are used as they are.
        device: where batches go.
        seed: the run's seed.
    """

    def __init__(self, loader: Any, device: torch.device, seed: int) -> None:
        self.loader, self.device = loader, device
        samplers = [loader.sampler, loader.batch_sampler]
        self._generators = {id(g): g for part in (loader, *samplers) if (g := getattr(part, "generator", None)) is not None}
        self._seeds = {key: generator.initial_seed() for key, generator in self._generators.items()}
        self._seed = seed
        try:
            self.per_epoch: int | None = len(loader)
        except TypeError:
            self.per_epoch = None
        if self.per_epoch == 0:
            raise DataError("the data loader has no batches: its data set is empty, or smaller than a batch that it drops")
        known = all(sampler is None or type(sampler).__module__.startswith("torch.utils.data") for sampler in samplers)
        self.repeatable = known and self.per_epoch is not None
        self._batches: Iterator[Any] = iter(())
        self._next = 0
        self._epoch = -1
        self._kept: tuple[int, Batch] | None = None
        self._state = torch.get_rng_state()

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch, `STREAM_EPOCH` for data without a length."""
        return self.per_epoch or STREAM_EPOCH

    def at(self, step: int) -> Batch:
        """The batch of a step, on the device; that of the last step may be asked for again.

        Raises:
            DataError: a batch that is none of tensors, or no batches.
        """
        if self._kept is not None and step == self._kept[0]:
            return self._kept[1]
        if step != self._next and self.repeatable:
            self._wind_to(step)
        elif step != self._next:
            if step > self._next:
                warnings.warn(
                    f"step {step} goes on with the loader's first batches: a data set without a length, or a sampler of "
                    "one's own, can't be wound to where the run was stopped",
                    UserWarning,
                    stacklevel=2,
                )
            self._next = step
        batch = map_tensors(as_batch(self._following()), lambda tensor: tensor.to(self.device, non_blocking=True))
        self._next += 1
        if self.repeatable or self._kept is None or step > self._kept[0]:
            self._kept = step, batch
        return batch

    def _wind_to(self, step: int) -> None:
        epoch, place = divmod(step, self.steps_per_epoch)
        self._begin(epoch)
        for _ in range(place):
            self._following()
        self._next = step

    def _begin(self, epoch: int) -> None:
        """Begin an epoch, with generators seeded for it."""
        self._epoch = epoch
        for key, generator in self._generators.items():
            generator.manual_seed(hash((self._seeds[key], epoch)) % 2**63)
        with self._apart():
            torch.default_generator.manual_seed(hash((self._seed, epoch)) % 2**63)
            self._batches = iter(self.loader)

    def _following(self) -> Any:
        """The next batch, of the next epoch where one is over."""
        for _ in range(2):
            with self._apart():
                for batch in self._batches:
                    return batch
            self._begin(self._epoch + 1)
        raise DataError("the data loader gives no batches")

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Draw from the loader's own state of torch's generator, and leave that of the pair where it is."""
        before = torch.get_rng_state()
        torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(before)
