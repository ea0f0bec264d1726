"""A pair whose guide is its model's prior: what a bootstrap filter proposes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro.poutine as poutine

from pyrogen.pair import Pair

__all__ = ["FromPrior"]


class FromPrior(Pair):
    """A pair with the same model, whose guide draws each latent from its prior, given the latents before it.

    The parameters are those of the pair inside, whose own guide is not run and need not exist.

    Args:
        pair: the pair.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair
        self.data_plate = pair.data_plate
        if hasattr(pair, "time_of"):
            self.time_of = pair.time_of

    def model(self, *args: Any, **kwargs: Any) -> Any:
        """See `Pair.model`."""
        return self.pair.model(*args, **kwargs)

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """The model, of which nothing is seen but the latents."""
        with poutine.block(hide_fn=_is_observed):
            return self.pair.model(*args, **kwargs)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """See `Pair.scope`."""
        with self.pair.scope():
            yield


def _is_observed(message: Any) -> bool:
    return bool(message["type"] == "sample" and message["is_observed"])
