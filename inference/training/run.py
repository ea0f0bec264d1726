"""A trained pair with what its training has left, in memory or read back from its directory, and what one does with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from pyrogen.batch import Batch, map_tensors
from pyrogen.devices import device_named
from pyrogen.errors import ConfigurationError, DataError
from pyrogen.pair import Pair
from pyrogen.randomness import forked
from pyrogen.registry.rebuilding import rebuild

from ..estimators.estimate import Estimate, Estimator
from ..estimators.exact import Exact
from ..estimators.importance import ImportanceSampling
from ..graphs import CompileReport
from ..studies import prediction
from ..studies.comparison import compare
from ..weights.evaluation import evaluation_batch
from .checkpoints import load_best, load_checkpoint
from .history import Row

__all__ = ["Run"]


@dataclass(repr=False)
class Run:
    """What `fit` gives back, and what `load` reads from its directory; ``print`` says what was trained and how well.

    Its methods put data on the pair's device, and what they take as `data` is a batch, a split, or what `fit` takes beside
    loaders. Draws begin with `seed`; the caller's generators are left as they were.
    """

    pair: Pair
    """The fitted pair, in evaluation mode."""
    history: list[Row]
    steps: int
    """Steps done in all."""
    directory: Path | None
    config: dict[str, Any] = field(default_factory=dict)
    """What ``config.yaml`` holds."""
    stopped_early: bool = False
    compiled: CompileReport | None = None
    """What was recorded and compiled, if that was asked for."""
    example: Batch | None = None
    """Two of the training data, which show what a batch is; all of them for a pair that is not amortized."""

    @classmethod
    def load(cls, directory: str | Path, pair: Pair | None = None, *, device: str | torch.device = "cpu") -> Run:
        """Read a run back from its directory.

        The pair is built by its class and the arguments that it was built with, which ``config.yaml`` names, and given the
        fitted parameters: open only directories that you trust as you would trust a script.

        Args:
            directory: the run's directory.
            pair: the pair, built as it was for the run, where ``config.yaml`` cannot say how: one made of functions in a
                notebook, or of networks.
            device: where the pair goes.

        Raises:
            ConfigurationError: there is no ``config.yaml``, or it does not say all that the pair is built of.
            CheckpointError: the checkpoint is missing, damaged, or does not fit the pair.

        Example:
            >>> import tempfile
            >>> from pyrogen.inference import fit
            >>> from pyrogen.models import LinearGaussianVAE
            >>> folder = tempfile.mkdtemp()
            >>> run = fit(LinearGaussianVAE((4,), latent=2), torch.randn(64, 4), steps=3, directory=folder, progress=False)
            >>> Run.load(folder).sample(5).shape
            torch.Size([5, 4])
        """
        directory = Path(directory)
        path = directory / "config.yaml"
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{path} cannot be read ({error}): name the directory that a fit wrote") from error
        if not isinstance(config, dict):
            raise ConfigurationError(f"{path} is no configuration of a run: restore it from a copy")
        state = load_checkpoint(directory)
        if pair is None:
            pair = _rebuilt(config, path)
        load_best(pair, state, directory)
        place = device_named(device)
        example = state.get("example")
        if example is not None:
            example = map_tensors(example, lambda tensor: tensor.to(place))
        early = state.get("stopped_early", False)
        return cls(pair.to(place).eval(), state["history"], state["step"], directory, config, early, example=example)

    def __repr__(self) -> str:
        where = "" if self.directory is None else f", {self.directory}"
        return f"<Run: {type(self.pair).__name__}, {self.steps:,} steps{where}>"

    def __str__(self) -> str:
        # Counted afterwards: the parameters of Pyro functions are made in their first run.
        parameters = sum(parameter.numel() for parameter in self.pair.parameters())
        seconds = self.history[-1]["seconds"] if self.history else 0.0
        early = ", stopped early" if self.stopped_early else ""
        text = f"{self.name}: {parameters:,} parameters, fitted in {self.steps:,} steps, {seconds:.1f} s{early}"
        last = self.history[-1] if self.history else {}
        losses = {name: value for name, value in last.items() if name.startswith("loss") and value is not None}
        if "loss" in losses:
            objective = self.config.get("fit", {}).get("objective", "objective")
            text += f"; {objective} {-losses['loss']:.2f} nats per datum in training"
        elif losses:
            text += "; " + ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        if self.validation is not None:
            estimator = self.config.get("fit", {}).get("validation", "estimate")
            text += f"; validation {estimator} {self.validation:.2f} nats per datum"
        return text

    @property
    def name(self) -> str:
        """What the pair is called: as the command line was told, or by its class."""
        return str(self.config.get("pair") or type(self.pair).__name__.removeprefix("_"))

    @property
    def validation(self) -> float | None:
        """The validation estimate of the pair's parameters, in nats per datum; None where nothing was validated."""
        found = [row["validation"] for row in self.history if row.get("validation") is not None]
        best = self.config.get("fit", {}).get("patience") is not None
        return None if not found else max(found) if best else found[-1]

    @property
    def device(self) -> torch.device:
        """Where the pair is."""
        return next((parameter.device for parameter in self.pair.parameters()), torch.device("cpu"))

    def log_prob(self, data: Any, estimator: Estimator | None = None, *, seed: int = 0) -> Estimate:
        """Estimate log p(x) of each datum.

        Args:
            data: the data.
            estimator: `Exact` where the pair knows its evidence, else ``ImportanceSampling(1000)``, if not given.
            seed: seeds the draws.

        Returns:
            ``log_prob`` and ``standard_error``, both (data,), in nats, and diagnostics.

        Raises:
            NotPerDatum: data share latents; see `pyrogen.inference.joint_evidence`.
        """
        usual = Exact() if hasattr(self.pair, "log_evidence") else ImportanceSampling(1000)
        table = compare(self.pair, data, [estimator or usual], device=self.device, seed=seed, progress=False)
        return table.estimates[0]

    def encode(self, data: Any, *, draws: int | None = None, seed: int = 0) -> dict[str, Tensor]:
        """The latents of data, by name, each (data, event...) or (draws, data, event...); see `pyrogen.inference.encode`."""
        with forked(self.device, seed):
            return prediction.encode(self.pair, self._batch(data), draws=draws)

    def reconstruct(self, data: Any, *, mean: bool | None = True, seed: int = 0) -> Tensor:
        """Data that are encoded and decoded, (data, event...); see `pyrogen.inference.reconstruct`."""
        with forked(self.device, seed):
            return prediction.reconstruct(self.pair, self._batch(data), mean=mean)

    def sample(self, count: int = 1, *, like: Any = None, mean: bool | None = None, seed: int = 0) -> Tensor:
        """Draws from the model, (count, event...); see `pyrogen.inference.sample`.

        Args:
            count: how many.
            like: data whose shapes, and labels where there are such, are those of the draws; the first ones of training
                if not given.
            mean: see `pyrogen.inference.sample`.
            seed: seeds the draws.
        """
        if like is None and self.example is None:
            raise DataError("the run's checkpoint, of an older version, holds no example of the data: give like=")
        with forked(self.device, seed):
            return prediction.sample(self.pair, self._batch(self.example if like is None else like), count, mean=mean)

    def interpolate(
        self, data: Any, others: Any, *, steps: int = 9, path: prediction.Path = "linear", seed: int = 0
    ) -> Tensor:
        """Walks from data to others, (data, steps, event...); see `pyrogen.inference.interpolate`."""
        with forked(self.device, seed):
            return prediction.interpolate(self.pair, self._batch(data), self._batch(others), steps=steps, path=path)

    def _batch(self, data: Any) -> Batch:
        return evaluation_batch(data, self.device)


def _rebuilt(config: dict[str, Any], path: Path) -> Pair:
    """The pair that a run's configuration describes."""
    found = config.get("built") or {"missing": {"the pair": "is not described there"}}
    try:
        pair: Pair = rebuild(found)
    except ConfigurationError as error:
        kind = str(found.get("class_path")).rpartition(":")[2]
        again = "Pair.of(model, guide)" if kind in ("None", "_FunctionPair") else f"{kind}(...)"
        raise ConfigurationError(
            f"{path} does not say all that the pair is built of: {error}. Build it as for the run, and give it: "
            f"Run.load({str(path.parent)!r}, pair={again})"
        ) from error
    if not isinstance(pair, Pair):
        raise ConfigurationError(f"{path}: {found['class_path']} is no pair: restore the file from a copy")
    return pair
