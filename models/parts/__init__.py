"""The parts that models are made of, by name: priors, encoders, likelihoods."""

from __future__ import annotations

# Each says in its `__all__` what it offers, so that a new part is exported where it is registered.
from .encoders import *  # noqa: F403
from .likelihoods import *  # noqa: F403
from .part import *  # noqa: F403
from .priors import *  # noqa: F403
