"""A run directory read back: its configuration, its data, its pair with the fitted parameters."""

from __future__ import annotations

import inspect
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
    from pyrogen.inference import Run
    from pyrogen.pair import Pair

__all__ = ["Saved", "open_run"]


@dataclass(frozen=True)
class Saved:
    """A run directory, the data that its pair was fitted to, and the run, whose pair is on the CPU."""

    directory: Path
    dataset: Dataset
    run: Run

    @property
    def pair(self) -> Pair:
        """The fitted pair, in evaluation mode."""
        return self.run.pair

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
        ConfigurationError: ``config.yaml`` is missing or damaged, or does not say what the pair and the data were.
        DataError: the data are not where they were.
        CheckpointError: the checkpoint is missing, damaged, or does not fit the pair.
    """
    from pyrogen.data import load
    from pyrogen.inference import Run
    from pyrogen.report import load_config

    directory = Path(directory)
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is no directory: name the run directory that pyrogen fit wrote")
    values = yaml.safe_load(load_config(directory))
    path = directory / "config.yaml"
    if not isinstance(values.get("data"), str):
        raise ConfigurationError(
            f"{path} does not say where the data of the run are from: fit writes it of a split that pyrogen.data.load has "
            "made; of other data a script says it with fit(config={'data': 'FILE.npy'})"
        )
    parser = ArgumentParser(exit_on_error=False)
    fit.add_arguments(parser)
    try:
        if "pair" not in values:  # the run of a script, which may have noted anything beside its data
            known = (inspect.signature(load).parameters.keys() - {"source", "seed"}) | {"data", "data_seed"}
            values = {name: value for name, value in values.items() if name in known}
        options = parser.parse_object(values)
    except ArgumentError as error:
        raise ConfigurationError(f"{path}: {one_line(error)}: mend it, or restore it from a copy") from error
    try:
        dataset = load_data(options.data, options)
        pair = None
        if options.pair is not None:
            pair, _ = build_pair(options.pair, options.args, shape=dataset.shape, seed=options.seed)
    except (ConfigurationError, DataError) as error:
        raise type(error)(f"{path}: {error}") from error
    return Saved(directory, dataset, Run.load(directory, pair))
