"""How a network draws: in evaluation mode, with a bar where it takes long, and all settings as they were afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import cast

from torch import nn
from torch.distributions import Distribution
from tqdm.auto import tqdm

__all__ = ["bar", "drawing"]

_SECONDS = 2.0
"""How long it takes, at least, for a bar to be shown that nobody has asked for."""


@contextmanager
def drawing(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode; afterwards its parts are in the modes they had before.

    Torch's compiler turns off the validation of all distributions, for good; here it is turned on again.
    """
    training = [module for module in network.modules() if module.training]
    validated = Distribution._validate_args
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
        Distribution.set_default_validate_args(validated)


def bar(show: bool | None) -> Callable[[Iterable[int]], Iterable[int]]:
    """What wraps a loop over steps in a bar.

    Args:
        show: whether to show it; ``None`` for a terminal alone, and only if it takes long.
    """

    def wrap(steps: Iterable[int]) -> Iterable[int]:
        shown = tqdm(
            steps, disable=None if show is None else not show, delay=0.0 if show else _SECONDS, leave=False, unit="step"
        )
        return cast("Iterable[int]", shown)

    return wrap
