"""Devices by name."""

from __future__ import annotations

import torch

from .errors import ConfigurationError

__all__ = ["device_named"]


def device_named(name: str | torch.device) -> torch.device:
    """A device by name; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigurationError: there is no such device here.
    """
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(f"unknown device {name!r}: use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"device {name!r} was asked for, and torch sees no CUDA device here: use 'auto' or 'cpu'")
    return device
