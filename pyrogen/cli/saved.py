"""A run directory read back: its configuration, its data, its pair with the fitted parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from pyrogen.errors import ConfigurationError, DataError
from pyrogen.registry.construct import one_line

from . import fit
from .options import load_data
from .pairs import build_pair

if TYPE_CHECKING:
    from pyrogen.data import Dataset, Split
    from pyrogen.pair import Pair

__all__ = ["Saved", "open_run"]


@dataclass(frozen=True)
class Saved:
    """A run directory, the data that its pair was fitted to, and the pair, on the CPU, in evaluation mode."""

    directory: Path
    dataset: Dataset
    pair: Pair

    def split(self, name: str) -> Split:
        """One of the three splits.

        Raises:
            ConfigurationError: the run kept no validation data.
        """
        found: Split | None = getattr(self.dataset, name)
        if found is None:
            raise ConfigurationError(f"{self.directory} was fitted without {name} data: choose another --split")
        return found


def open_run(directory: str | Path) -> Saved:
    """Build a run's pair and data again from its ``config.yaml``, and restore the pair's parameters.

    The file says which code is run: open only directories that you trust as you would trust a script.

    Raises:
        ConfigurationError: ``config.yaml`` is missing, damaged, or was not written by ``pyrogen fit``.
        DataError: the data are not where they were.
        CheckpointError: the checkpoint is missing, damaged, or does not fit the pair.
    """
    from pyrogen.inference import restore
    from pyrogen.report import load_config

    directory = Path(directory)
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is no directory: name the run directory that pyrogen fit wrote")
    values = yaml.safe_load(load_config(directory))
    path = directory / "config.yaml"
    if not isinstance(values.get("pair"), str) or not isinstance(values.get("data"), str):
        raise ConfigurationError(
            f"{path} does not say which pair and data the run is of: pyrogen fit writes it so; a script says it with "
            "fit(config={'pair': 'vae', 'args': {...}, 'data': 'digits'})"
        )
    parser = ArgumentParser(exit_on_error=False)
    fit.add_arguments(parser)
    try:
        options = parser.parse_object(values)
    except ArgumentError as error:
        raise ConfigurationError(f"{path}: {one_line(error)}: mend it, or restore it from a copy") from error
    try:
        dataset = load_data(options.data, options)
        pair, _ = build_pair(options.pair, options.args, shape=dataset.shape, seed=options.seed)
    except (ConfigurationError, DataError) as error:
        raise type(error)(f"{path}: {error}") from error
    restore(pair, directory, dataset.train[:2].fixed())
    return Saved(directory, dataset, pair.eval())
