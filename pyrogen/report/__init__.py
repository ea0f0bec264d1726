"""Tables, plots and one self-contained web page, made from saved results alone.

Nothing here touches a live model: every function takes what a run left in its directory (`comparison.json`,
`history.csv`, `usage.json`, `pictures.npz`, `config.yaml`) or the same as plain mappings and arrays. Importing this package
imports neither matplotlib nor Jinja2.
"""

from __future__ import annotations

from . import plots
from .causal import generation
from .comparison_table import format_table, print_table, table
from .page import render
from .records import load_record
from .runs import load_config, load_history, load_pictures, load_usage

__all__ = [
    "format_table",
    "generation",
    "load_config",
    "load_history",
    "load_pictures",
    "load_record",
    "load_usage",
    "plots",
    "print_table",
    "render",
    "table",
]
