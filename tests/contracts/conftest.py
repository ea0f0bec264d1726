"""Contract tests of causal networks share the list in `causal_cases.py`, which they import from this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
