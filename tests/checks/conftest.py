"""Tests of several files share the right pairs in `right_pairs.py`, which they import from this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
