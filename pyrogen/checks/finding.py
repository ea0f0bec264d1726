"""What a rule has found in a pair."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Finding", "Group", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]
"""An error makes results wrong or the run die; a warning often does; a note is worth knowing."""

Group: TypeAlias = Literal["structure", "support", "vectorisation", "numbers", "randomness", "devices", "quality"]


@dataclass(frozen=True)
class Finding:
    """One fault of a pair: its code, what was seen and where, and what to do."""

    code: str
    severity: Severity
    seen: str
    remedy: str
    site: str | None = None
    shape: tuple[int, ...] | None = None
    line: str | None = None
    """Place in the user's own code, such as ``"my_file.py:12"``."""

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain values, for JSON."""
        return {**asdict(self), "shape": None if self.shape is None else list(self.shape)}
