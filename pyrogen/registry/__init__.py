"""Classes by name: tables that users add to, and texts such as ``mixture:components=5`` that make an object."""

from __future__ import annotations

from .registry import Registry
from .specs import make, split

__all__ = ["Registry", "make", "split"]
