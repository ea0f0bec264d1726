"""Fit a pair by stochastic variational inference, from a script."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyro
import torch
import yaml
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from pyrogen import __version__
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair

from .checkpoint import CHECKPOINT
from .chunks import check_extremes
from .elbo import ELBO
from .estimate import Estimator
from .history import History, Row
from .loop import Loop, Validation, finish_step_on_interrupt
from .objective import Objective
from .trainer import Trainer, rows_of

__all__ = ["Run", "device_named", "fit", "linear_warmup"]


@dataclass
class Run:
    """What `fit` gives back."""

    pair: Pair
    """The fitted pair, in evaluation mode."""
    history: list[Row]
    steps: int
    """Steps done in all."""
    directory: Path | None
    config: dict[str, Any] = field(default_factory=dict)
    stopped_early: bool = False


def linear_warmup(steps: int, start: float = 0.0) -> Callable[[int], float]:
    """A schedule for `beta` that rises from `start` to 1 over a number of steps (KL warm-up).

    Reference:
        Bowman et al. 2016, Generating Sentences from a Continuous Space, https://arxiv.org/abs/1511.06349

    Example:
        >>> [linear_warmup(4)(step) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return lambda step: min(1.0, start + (1.0 - start) * step / steps) if steps > 0 else 1.0


def device_named(name: str | torch.device) -> torch.device:
    """A device by name; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigurationError: there is no such device here.
    """
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(f"unknown device {name!r}: use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"device {name!r} was asked for, and torch sees no CUDA device here: use 'auto' or 'cpu'")
    return device


def fit(
    pair: Pair,
    data: Any,
    *,
    objective: Objective | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 128,
    lr: float = 1e-3,
    optimizer: Callable[[Any], Optimizer] | None = None,
    scheduler: Literal["cosine"] | Callable[[Optimizer], LRScheduler] | None = None,
    clip: float | None = None,
    beta: float | Callable[[int], float] = 1.0,
    validation: Any = None,
    validate_every: int = 1,
    validation_estimator: Estimator | None = None,
    patience: int | None = None,
    device: str | torch.device = "auto",
    directory: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 1,
    log_every: int = 100,
    seed: int = 0,
    progress: bool = True,
    tensorboard: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Fit a pair to data by stochastic variational inference.

    Args:
        pair: the pair; it is moved to the device and trained in place.
        data: a `pyrogen.data.Split`, or a batch (a tensor, or a tuple or dict of tensors).
        objective: what to maximise; `ELBO()` if not given.
        epochs: passes over the data; give these or `steps`.
        steps: optimizer steps; give these or `epochs`.
        batch_size: data per step.
        lr: learning rate of the default optimizer, a fused Adam.
        optimizer: makes another one from the parameters, for instance ``functools.partial(torch.optim.SGD, lr=0.1)``.
        scheduler: ``"cosine"`` (to zero over the run), or makes one from the optimizer; it steps once a step.
        clip: largest global norm of the gradient.
        beta: factor of the divergence in an ELBO, fixed or by step (`linear_warmup`); it never enters an evaluation.
        validation: data for the validation estimate, of the same kinds as `data`.
        validate_every: epochs between validations.
        validation_estimator: what to validate with; ``ELBO(draws=8)`` if not given.
        patience: stop after that many validations without a better one, and go back to the best parameters.
        device: ``"auto"``, or a device.
        directory: where ``checkpoint.pt``, ``history.csv`` and ``config.yaml`` go; nothing is written if not given.
        resume: go on from the directory's checkpoint, if there is one, bit for bit as if the run had not stopped.
        checkpoint_every: epochs between checkpoints.
        log_every: steps between rows of the history.
        seed: seeds initial ``pyro.param`` values, batches and draws; the caller's generators are left as they were.
        progress: show a progress bar.
        tensorboard: write TensorBoard curves, too.
        config: what to record in ``config.yaml`` beside these arguments.

    Returns:
        The run, its pair in evaluation mode.

    Raises:
        ConfigurationError: arguments that do not fit together.
        PairError: the pair does not fit the data; see `Pair.structure`.
        NonFiniteLoss: a loss was not finite; the step, the sites and the last good checkpoint are named.
        CheckpointError: the checkpoint to resume from is damaged or belongs to another run.
        KeyboardInterrupt: after Ctrl-C, once the step is done and a checkpoint is written.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> run = fit(LinearGaussianVAE((4,), latent=2), x, steps=20, batch_size=16, progress=False)
        >>> run.steps
        20
    """
    if (epochs is None) == (steps is None):
        raise ConfigurationError("give either epochs or steps")
    for name, value in (
        ("epochs", epochs),
        ("steps", steps),
        ("batch_size", batch_size),
        ("log_every", log_every),
    ):
        if value is not None and value < 1:
            raise ConfigurationError(f"{name} must be at least 1, not {value}")
    if patience is not None and validation is None:
        raise ConfigurationError("patience needs validation data")
    if resume and directory is None:
        raise ConfigurationError("resume=True needs the directory of the run")
    place = device_named(device)
    path = None if directory is None else Path(directory)
    objective = objective or ELBO()
    objective.state = {}
    pair.to(place)
    rows = rows_of(data, place)
    schedule = beta if callable(beta) else lambda step: float(beta)

    cuda = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        first = rows.draw(torch.arange(min(batch_size, len(rows)), device=place))
        structure = pair.structure(first)
        if not structure.amortized and len(rows) > batch_size:
            raise PairError(
                f"{type(pair).__name__} runs on a batch of {batch_size} data as a whole only (it has parameters for each "
                "datum, as an autoguide with local latents has), and the next batch would meet those of other data: use "
                f"batch_size={len(rows)}, or a guide that computes its parameters from the data"
            )
        check_extremes(pair, rows.draw())
        parameters = [p for p in pair.parameters() if p.requires_grad]
        if not parameters:
            raise ConfigurationError(f"{type(pair).__name__} has no parameter to train")
        made = torch.optim.Adam(parameters, lr, fused=True) if optimizer is None else optimizer(parameters)
        total = steps if steps is not None else int(epochs or 0) * math.ceil(len(rows) / batch_size)
        trainer = Trainer(
            pair,
            rows,
            objective,
            made,
            CosineAnnealingLR(made, total) if scheduler == "cosine" else scheduler(made) if scheduler else None,
            batch_size=batch_size,
            clip=clip,
            beta=schedule,
            seed=seed,
            device=place,
        )
        identity = {"rows": len(rows), "batch_size": batch_size, "seed": seed, "objective": objective.name}
        record = {
            **(config or {}),
            "fit": {
                **identity,
                "steps": total,
                "optimizer": type(made).__name__,
                "lr": made.param_groups[0].get("initial_lr", made.param_groups[0]["lr"]),
                "scheduler": getattr(scheduler, "__name__", None if scheduler is None else str(scheduler)),
                "clip": clip,
                "gradient": objective.gradient,
                "device": str(place),
            },
            "versions": {"pyrogen": __version__, "torch": str(torch.__version__), "pyro": str(pyro.__version__)},
        }
        if hasattr(data, "describe"):
            record.setdefault("data", data.describe())
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
            (path / "config.yaml").write_text(yaml.safe_dump(record, sort_keys=False))
        loop = Loop(
            trainer,
            total=total,
            validate=None
            if validation is None
            else Validation(validation, validation_estimator or ELBO(draws=8), place, seed),
            every=(log_every, validate_every, checkpoint_every),
            patience=patience,
            path=path,
            identity=identity,
            history=History(path, tensorboard=tensorboard),
        )
        if resume and path is not None and (path / CHECKPOINT).exists():
            loop.resume(path)
        else:
            loop.history.start([])
        pair.train()
        with finish_step_on_interrupt() as interrupted, pyro.validation_enabled(False):
            loop.run(interrupted, progress=progress)
    pair.eval()
    return Run(pair, loop.history.rows, trainer.done, path, record, loop.stopped_early)
