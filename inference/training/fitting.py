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
from pyrogen.checks import preflight
from pyrogen.devices import device_named
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair
from pyrogen.processes import joined, own_device, stream
from pyrogen.run_directory import CHECKPOINT, remove_run

from ..estimators.estimate import Estimator
from ..graphs import Compile, CompileReport, require_compile
from ..objectives.elbo import ELBO
from ..objectives.objective import Objective
from ..weights.chunks import check_extremes
from .history import History, Row
from .loop import Loop, Validation, finish_step_on_interrupt
from .precision import Precision, require_precision
from .recorded_steps import Engine
from .sharing import require_divisible
from .trainer import Trainer
from .training_rows import HostRows, Keep, rows_of

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
    compiled: CompileReport | None = None
    """What was recorded and compiled, if that was asked for."""


def linear_warmup(steps: int, start: float = 0.0) -> Callable[[int], float]:
    """A schedule for `beta` that rises from `start` to 1 over a number of steps (KL warm-up).

    Reference:
        Bowman et al. 2016, Generating Sentences from a Continuous Space, https://arxiv.org/abs/1511.06349

    Example:
        >>> [linear_warmup(4)(step) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return lambda step: min(1.0, start + (1.0 - start) * step / steps) if steps > 0 else 1.0


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
    compile: Compile = False,
    precision: Precision = "float32",
    steps_per_call: int = 1,
    keep: Keep = "auto",
) -> Run:
    """Fit a pair to data by stochastic variational inference.

    Under ``torchrun`` all processes fit the one pair together: a step is one of a batch of `batch_size` data from each, and
    every process returns the same pair and history; the first one writes the files and shows progress. A run of n
    processes is resumed by n. What takes a whole batch (batch norm, free bits) takes a process's share of it, and batch
    norm's running statistics are in the end those of the first process.

    Args:
        pair: the pair; it is moved to the device and trained in place. It goes on from the values that it has, and one of
            `Pair.of` from those that Pyro's own SVI has left in Pyro's parameter store; ``fresh=True`` there begins anew.
        data: a `pyrogen.data.Split`, or a batch (a tensor, or a tuple or dict of tensors).
        objective: what to maximise; `ELBO()` if not given.
        epochs: passes over the data; give these or `steps`.
        steps: optimizer steps; give these or `epochs`.
        batch_size: data per step, of each process.
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
        directory: where ``checkpoint.pt``, ``history.csv`` and ``config.yaml`` go; nothing is written if not given. A run
            that begins anew removes an earlier one's checkpoint from it, and every fit removes results of other parameters.
        resume: go on from the directory's checkpoint, if there is one, bit for bit as if the run had not stopped.
        checkpoint_every: epochs between checkpoints.
        log_every: steps between rows of the history.
        seed: seeds initial ``pyro.param`` values, batches and draws; the caller's generators are left as they were.
        progress: show a progress bar.
        tensorboard: write TensorBoard curves, too.
        config: what to record in ``config.yaml`` beside these arguments.
        compile: True records the pair's run as a graph of tensor operations and compiles it, which makes steps several
            times faster and costs some seconds once; ``"graph"`` records without a compiler; ``"auto"`` does what pays, and
            runs the pair itself, with a warning, where it cannot be recorded. The draws are those of an
            uncompiled run, and a run may be resumed in another mode.
        steps_per_call: steps that a compiled run takes in one call, optimizer included, where nothing is logged, validated
            or saved between them; worth it for models of a few hundred parameters. Their batches are drawn before the first.
        keep: ``"device"`` keeps the training data there; ``"host"`` sends each batch, one ahead; ``"auto"`` does so where
            half of the CUDA device's free memory would not hold them.
        precision: ``"float32"``; ``"tf32"`` or ``"bf16"`` for faster matrix products. Log weights are summed in float32.

    Returns:
        The run, its pair in evaluation mode.

    Raises:
        ConfigurationError: arguments that do not fit together.
        PairError: the pair does not fit the data; see `Pair.structure`.
        NonFiniteLoss: a loss was not finite; the step, the sites and the last good checkpoint are named.
        CheckpointError: the checkpoint to resume from is damaged or belongs to another run.
        NotTraceable: ``compile=True``, and the pair's run needs a value on the host; says which line asked for it.
        GraphMismatch: the graph does not compute what the pair computes, since Python decides something anew in each run.
        CompilerMissing: ``compile=True``, and there is no C++ compiler.
        ProcessError: another process of the run is gone; what it said and the last checkpoint are named.
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
        ("steps_per_call", steps_per_call),
    ):
        if value is not None and value < 1:
            raise ConfigurationError(f"{name} must be at least 1, not {value}")
    if patience is not None and validation is None:
        raise ConfigurationError("patience needs validation data")
    require_compile(compile)
    require_precision(precision)
    if steps_per_call > 1 and not compile:
        raise ConfigurationError(f"steps_per_call={steps_per_call} needs compile=True, 'graph' or 'auto'")
    if resume and directory is None:
        raise ConfigurationError("resume=True needs the directory of the run")
    place = own_device(device_named(device))
    path = None if directory is None else Path(directory)
    objective = objective or ELBO()
    objective.state = {}
    pair.to(place)
    rows = rows_of(data, place, keep)

    cuda = [place] if place.type == "cuda" else []
    with joined(place) as processes, torch.random.fork_rng(devices=cuda):
        if processes.size > 1 and steps_per_call > 1:
            raise ConfigurationError(
                f"steps_per_call={steps_per_call} leaves no room for {processes.size} processes to average gradients: use 1"
            )
        torch.manual_seed(seed)
        numbers = torch.arange(min(batch_size, len(rows)), device=getattr(rows, "index_device", place))
        first = rows.draw(numbers)
        structure = pair.structure(first)
        preflight(pair, first)
        if not structure.amortized and len(rows) > batch_size:
            raise PairError(
                f"{type(pair).__name__} runs on a batch of {batch_size} data as a whole only (it has parameters for each "
                "datum, as an autoguide with local latents has), and the next batch would meet those of other data: use "
                f"batch_size={len(rows)}, or a guide that computes its parameters from the data"
            )
        for part in rows.parts() if isinstance(rows, HostRows) else [None]:
            check_extremes(pair, rows.draw(part))
        require_divisible(pair, first, objective, processes)
        objective.prepare(pair, first)
        shapes = [(name, tuple(tensor.shape)) for name, tensor in pair.state_dict().items()]
        processes.require_same("arguments", {"rows": len(rows), "batch_size": batch_size, "steps": steps, "epochs": epochs})
        processes.require_same("parameters", shapes)
        processes.broadcast([*pair.parameters(), *pair.buffers()])
        parameters = [p for p in pair.parameters() if p.requires_grad]
        if not parameters:
            raise ConfigurationError(f"{type(pair).__name__} has no parameter to train")
        made = torch.optim.Adam(parameters, lr, fused=True) if optimizer is None else optimizer(parameters)
        total = steps if steps is not None else int(epochs or 0) * math.ceil(len(rows) / (batch_size * processes.size))
        trainer = Trainer(
            pair,
            rows,
            objective,
            made,
            CosineAnnealingLR(made, total) if scheduler == "cosine" else scheduler(made) if scheduler else None,
            batch_size=batch_size,
            clip=clip,
            beta=beta,
            seed=seed,
            device=place,
            precision=precision,
            engine=Engine(pair, objective, compile, precision=precision, steps=total) if compile else None,
            processes=processes,
            steps_per_call=steps_per_call,
        )
        if not processes.first:
            torch.manual_seed(stream(seed, processes.rank))
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
                "compile": compile,
                "precision": precision,
                **({"processes": processes.size} if processes.size > 1 else {}),
            },
            "versions": {"pyrogen": __version__, "torch": str(torch.__version__), "pyro": str(pyro.__version__)},
        }
        if hasattr(data, "describe"):
            record.setdefault("data", data.describe())
        resuming = resume and path is not None and processes.from_first((path / CHECKPOINT).exists)
        written = path if processes.first else None
        if written is not None:
            written.mkdir(parents=True, exist_ok=True)
            if not resuming:
                remove_run(written)
            (written / "config.yaml").write_text(yaml.safe_dump(record, sort_keys=False))
        loop = Loop(
            trainer,
            total=total,
            validate=None
            if validation is None
            else Validation(validation, validation_estimator or ELBO(draws=8), place, seed, processes),
            every=(log_every, validate_every, checkpoint_every),
            patience=patience,
            path=path,
            identity=identity,
            history=History(written, tensorboard=tensorboard and processes.first),
        )
        if resuming and path is not None:
            loop.resume(path)
        else:
            loop.history.start([])
        pair.train()
        with finish_step_on_interrupt() as interrupted, pyro.validation_enabled(False):
            loop.run(interrupted, progress=progress)
    pair.eval()
    return Run(
        pair,
        loop.history.rows,
        trainer.done,
        path,
        record,
        loop.stopped_early,
        None if trainer.engine is None else trainer.engine.report,
    )
