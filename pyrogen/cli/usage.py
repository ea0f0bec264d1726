"""``usage.json`` of a run: how much each latent says about the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pyrogen.errors import PairError
from pyrogen.saving import replace_file

if TYPE_CHECKING:
    from pyrogen.data import Split
    from pyrogen.pair import Pair

__all__ = ["save_usage"]


def save_usage(pair: Pair, rows: Split, directory: str | Path) -> list[str]:
    """Measure the usage of the latents, and write it where there are any.

    Args:
        pair: the fitted pair.
        rows: the data.
        directory: where ``usage.json`` goes.

    Returns:
        A line for each latent; none for a pair without latents of a datum.
    """
    from pyrogen.inference import usage
    from pyrogen.randomness import forked
    from pyrogen.run_directory import fingerprint

    path = Path(directory) / "usage.json"
    path.unlink(missing_ok=True)
    if len(rows) < 2:
        return []  # nothing varies over one datum
    device = next(pair.parameters()).device
    try:
        with forked(device, seed=0):
            found = usage(pair, rows.to(device).fixed())
    except PairError:  # latents that all data share, or whose divergence is not known
        return []
    if found:
        parameters = fingerprint(pair.state_dict())
        with replace_file(path) as temporary:
            temporary.write_text(
                json.dumps([{"parameters": parameters, **used.record()} for used in found]), encoding="utf-8"
            )
    return [str(used) for used in found]
