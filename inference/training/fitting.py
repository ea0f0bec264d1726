"""Fit a pair by stochastic variational inference, from a script."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import pyro
import torch
import yaml
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from pyrogen import __version__
from pyrogen.batch import Batch, index, length
from pyrogen.checks import PairWarning, preflight
from pyrogen.devices import device_named
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair
from pyrogen.processes import joined, own_device, stream
from pyrogen.programs.faults import GREY_PIXELS
from pyrogen.randomness import forked
from pyrogen.registry.rebuilding import recipe
from pyrogen.run_directory import CHECKPOINT, remove_run

from ..estimators.estimate import Estimator
from ..graphs import Compile, CompileReport, require_compile
from ..objectives.elbo import ELBO
from ..objectives.objective import Objective, Phase
from ..weights.evaluation import check_extremes
from .callbacks import Callback, TensorBoard, Training, as_callbacks
from .fused_steps import fused_steps
from .history import History, Row
from .loader_batches import LoaderBatches
from .loop import Loop, Validation, finish_step_on_interrupt
from .phases import TrainedPhase, parameters_of, phases_of
from .precision import Precision, require_precision
from .recorded_steps import RecordedLoss
from .run import Run
from .sharing import require_divisible
from .trainer import Trainer, steps_per_epoch
from .training_rows import Keep, Rows, batches_of

__all__ = ["DEFAULT_STEPS", "fit", "linear_warmup"]

DEFAULT_STEPS = 3000
"""How long to train where nobody says it: minutes for what is small, and an end in sight for what is not."""

T = TypeVar("T")
PerPhase: TypeAlias = T | Mapping[str, T]
"""One for all phases of the objective, or one for each by name."""

Scheduler: TypeAlias = Literal["cosine"] | Callable[[Optimizer], LRScheduler]


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
    lr: PerPhase[float] = 1e-3,
    optimizer: PerPhase[Callable[[Any], Optimizer]] | None = None,
    scheduler: PerPhase[Scheduler] | None = None,
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
    callbacks: Sequence[Callback | Callable[[Training, Row], Any]] = (),
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

    Before the first step the pair is examined on the first batch. It runs once for its sites and plates; three times on a
    part of the batch, which shows whether it is amortized and whether data mix; with k particles at once, and with each of
    them alone, on draws of the guide and of the prior (k is 2, or the next prime that is no size of the pair); once for the
    cheap rules of `pyrogen.check`; and once on the most extreme data, which may lie outside the likelihood's support. That
    makes 7 + k runs of the guide and 8 + 2k of the model. A later fit to such batches repeats the last of them only. A
    recorded loss takes three more: for what the objective carries, for the recording, for its check; ``"auto"`` times two.

    Args:
        pair: the pair; it is moved to the device and trained in place. It goes on from the values that it has, and one of
            `Pair.of` from those that Pyro's own SVI has left in Pyro's parameter store; ``fresh=True`` there begins anew.
        data: a `pyrogen.data.Split`; a batch, which is a tensor, a NumPy array, or a tuple or dict of these; a pandas frame,
            for a model whose arguments are its columns; a sparse matrix, densified batch by batch; a map-style
            `torch.utils.data.Dataset`; or a `DataLoader` or an `IterableDataset`, whose batches are taken as they come.
        objective: what to maximise; `ELBO()` if not given.
        epochs: passes over the data; give these or `steps`.
        steps: optimizer steps; give these or `epochs`. Without either there are `DEFAULT_STEPS`.
        batch_size: data per step, of each process; that of a loader is its own.
        lr: learning rate of the default optimizer, a fused Adam.
        optimizer: makes another one from the parameters, for instance ``functools.partial(torch.optim.SGD, lr=0.1)``.
        scheduler: ``"cosine"`` (to zero over the run), or makes one from the optimizer; it steps once a step. An objective
            of several phases (`Objective.phases`) has an optimizer for each; these three can be a mapping by phase.
        clip: largest global norm of the gradient.
        beta: factor of the divergence in an ELBO, fixed or by step (`linear_warmup`); it never enters an evaluation.
        validation: data for the validation estimate, of the same kinds as `data`.
        validate_every: epochs between validations. An epoch of data without a length is 1,000 steps.
        validation_estimator: what to validate with; ``ELBO(draws=8)`` if not given. A sampler, which has no density, is not
            validated without it.
        patience: stop after that many validations without a better one, and go back to the best parameters.
        device: ``"auto"``, or a device.
        directory: where ``checkpoint.pt``, ``history.csv`` and ``config.yaml`` go; nothing is written if not given. A run
            that begins anew removes an earlier one's checkpoint from it, and every fit removes results of other parameters.
        resume: go on from the directory's checkpoint, if there is one, bit for bit as if the run had not stopped.
        checkpoint_every: epochs between checkpoints.
        log_every: steps between rows of the history.
        seed: seeds initial ``pyro.param`` values, batches and draws; the caller's generators are left as they were.
        progress: show a progress bar.
        callbacks: `Callback` objects, which are told of steps, rows, validations, checkpoints and the end, may add columns
            to the history and stop the run; a function is called with the `Training` and each row.
        tensorboard: write TensorBoard curves into the directory, too.
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

    Warns:
        PairWarning: a cheap rule of `pyrogen.check` has found something, or a Bernoulli observes grey pixels.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> run = fit(LinearGaussianVAE((4,), latent=2), x, steps=20, batch_size=16, progress=False)
        >>> run.steps
        20
    """
    counts = {"epochs": epochs, "steps": steps, "batch_size": batch_size, "log_every": log_every}
    if epochs is None and steps is None:
        steps = DEFAULT_STEPS
    _require_arguments({**counts, "steps_per_call": steps_per_call})
    if not pair.has_density and validation_estimator is None:
        validation = None
    validation_estimator = validation_estimator or ELBO(draws=8)
    if patience is not None and validation is None:
        raise ConfigurationError("patience needs validation data")
    require_compile(compile)
    require_precision(precision)
    if steps_per_call > 1 and not compile:
        raise ConfigurationError(f"steps_per_call={steps_per_call} needs compile=True, 'graph' or 'auto'")
    if resume and directory is None:
        raise ConfigurationError("resume=True needs the directory of the run")
    if tensorboard and directory is None:
        raise ConfigurationError("tensorboard=True needs a directory to write to")
    hooks = as_callbacks(callbacks)
    place = own_device(device_named(device))
    path = None if directory is None else Path(directory)
    objective = objective or ELBO()
    pair.to(place)
    objective.networks.to(place)
    rows = batches_of(data, place, keep, batch_size=batch_size, seed=seed)
    known: dict[str, Any] = {"rows": len(rows), "batch_size": batch_size} if not isinstance(rows, LoaderBatches) else {}
    if isinstance(rows, LoaderBatches):
        known = {"batches": rows.per_epoch, "batch_size": getattr(rows.loader, "batch_size", None)}
        if epochs is not None and rows.per_epoch is None:
            raise ConfigurationError("the data have no length, and epochs would have no end: give steps")
        if steps_per_call > 1:
            raise ConfigurationError(f"steps_per_call={steps_per_call} needs data in memory, not a loader's batches: use 1")

    with joined(place) as processes, forked(place):
        if processes.size > 1 and steps_per_call > 1:
            raise ConfigurationError(
                f"steps_per_call={steps_per_call} leaves no room for {processes.size} processes to average gradients: use 1"
            )
        torch.manual_seed(seed)
        first = _first_batch(pair, rows, batch_size, place)
        example = index(first, slice(2)) if pair.structure(first).amortized else first
        require_divisible(pair, first, objective, processes)
        modules = nn.ModuleList([pair, objective.networks])
        shapes = [(name, tuple(tensor.shape)) for name, tensor in modules.state_dict().items()]
        processes.require_same("arguments", {**known, "steps": steps, "epochs": epochs})
        processes.require_same("parameters", shapes)
        processes.broadcast([*modules.parameters(), *modules.buffers()])
        total = steps if steps is not None else int(epochs or 0) * steps_per_epoch(rows, batch_size, processes)
        report = CompileReport() if compile else None
        phases = _trained_phases(
            pair,
            objective,
            first,
            total,
            {"optimizer": optimizer, "lr": lr, "scheduler": scheduler},
            clip=clip,
            precision=precision,
            compile=compile,
            report=report,
        )
        trainer = Trainer(
            pair,
            rows,
            objective,
            phases,
            batch_size=batch_size,
            beta=beta,
            seed=seed,
            device=place,
            processes=processes,
            fused=fused_steps(phases, steps_per_call) if processes.size == 1 else None,
        )
        if not processes.first:
            torch.manual_seed(stream(seed, processes.rank))
        identity = {**known, "seed": seed, "objective": objective.name}
        settings = {"clip": clip, "patience": patience, "device": str(place), "compile": compile, "precision": precision}
        if validation is not None:
            settings["validation"] = validation_estimator.name
        if processes.size > 1:
            settings["processes"] = processes.size
        record = {
            **(config or {}),
            **(getattr(data, "loaded", None) or {}),
            "built": recipe(pair),
            "fit": {**identity, "steps": total, **_described(phases, scheduler), **_gradient(objective), **settings},
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
        checked = None
        if validation is not None:
            checked = Validation(validation, validation_estimator, place, seed, processes)
        if tensorboard and written is not None:
            hooks.append(TensorBoard(written / "tensorboard"))
        loop = Loop(
            trainer,
            total=total,
            validate=checked,
            every=(log_every, validate_every, checkpoint_every),
            patience=patience,
            path=path,
            identity=identity,
            history=History(written),
            example=example,
            callbacks=hooks,
        )
        if resuming and path is not None:
            loop.resume(path)
        else:
            loop.history.start([])
        modules.train()
        with finish_step_on_interrupt() as interrupted, pyro.validation_enabled(False):
            loop.run(interrupted, progress=progress)
    modules.eval()
    return Run(pair, loop.history.rows, trainer.done, path, record, loop.stopped_early, report, example)


def _require_arguments(numbers: Mapping[str, int | None]) -> None:
    if numbers["epochs"] is not None and numbers["steps"] is not None:
        raise ConfigurationError("give either epochs or steps")
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ConfigurationError(f"{name} must be at least 1, not {value}")


def _first_batch(pair: Pair, rows: Rows | LoaderBatches, batch_size: int, device: torch.device) -> Batch:
    """The first batch, on which the pair has been checked, and the data: all of them, where they lie in memory."""
    parts: Iterable[Batch]
    if isinstance(rows, LoaderBatches):
        first = rows.at(0)
        parts, whole = [first], "a loader of one batch" if rows.steps_per_epoch > 1 else None
    else:
        first = rows.draw(torch.arange(min(batch_size, len(rows)), device=getattr(rows, "index_device", device)))
        numbers = rows.parts() if hasattr(rows, "parts") else [None]
        parts, whole = (rows.draw(part) for part in numbers), f"batch_size={len(rows)}" if len(rows) > batch_size else None
    structure = pair.structure(first)
    preflight(pair, first)
    if not structure.amortized and whole is not None:
        raise PairError(
            f"{type(pair).__name__} runs on a batch of {length(first)} data as a whole only (it has parameters for each "
            "datum, as an autoguide with local latents has), and the next batch would meet those of other data: use "
            f"{whole}, or a guide that computes its parameters from the data"
        )
    grey = None
    for part in parts:
        try:
            check_extremes(pair, part)
        except PairError as error:
            if error.code != GREY_PIXELS.code:
                raise
            grey = error
    if grey is not None:
        training = "Training minimises the mean loss of pixels drawn anew as 0 or 1; compare refuses such data"
        warnings.warn(f"{grey.code} {grey} {training}", PairWarning, stacklevel=3)
    return first


def _trained_phases(
    pair: Pair,
    objective: Objective,
    batch: Batch,
    steps: int,
    options: Mapping[str, Any],
    *,
    compile: Compile,
    report: CompileReport | None,
    clip: float | None,
    precision: Precision,
) -> list[TrainedPhase]:
    """The phases of an objective, each with its optimizer and scheduler, and its recorded loss where that is asked for."""
    phases, found = phases_of(objective, pair, batch), []
    for phase in phases:
        of = {name: _of_phase(name, value, phase, phases) for name, value in options.items()}
        trained = parameters_of(phase, pair, objective.networks)
        make = of["optimizer"] or partial(torch.optim.Adam, lr=of["lr"], fused=True)
        made = make([parameter for _, parameter in trained])
        taken = -(-steps // phase.every)
        scheduler = CosineAnnealingLR(made, taken) if of["scheduler"] == "cosine" else of["scheduler"]
        recorded = None
        if compile:
            recorded = RecordedLoss(
                pair,
                phase.loss,
                trained,
                compile,
                networks=objective.networks,
                precision=precision,
                steps=taken,
                report=report,
            )
        found.append(
            TrainedPhase(
                phase,
                pair,
                objective.networks,
                made,
                scheduler(made) if callable(scheduler) else scheduler,
                clip=clip,
                precision=precision,
                recorded=recorded,
            )
        )
    return found


def _of_phase(name: str, option: Any, phase: Phase, phases: Sequence[Phase]) -> Any:
    """What an argument of `fit` gives a phase: the value that is for all of them, or its own."""
    if not isinstance(option, Mapping):
        return option
    names = [other.name for other in phases]
    if set(option) != set(names):
        raise ConfigurationError(
            f"{name} is given for the phases {list(option)}, and the objective has {names}: name them all"
        )
    return option[phase.name]


def _described(phases: Sequence[TrainedPhase], scheduler: Any) -> dict[str, Any]:
    """Optimizers and learning rates, for the record; by phase where there are several."""
    names = {
        phase.phase.name: {
            "optimizer": type(phase.optimizer).__name__,
            "lr": phase.optimizer.param_groups[0].get("initial_lr", phase.optimizer.param_groups[0]["lr"]),
            "scheduler": _name(scheduler[phase.phase.name] if isinstance(scheduler, Mapping) else scheduler),
        }
        for phase in phases
    }
    return next(iter(names.values())) if len(names) == 1 else {"phases": names}


def _name(value: Any) -> str | None:
    return None if value is None else getattr(value, "__name__", str(value))


def _gradient(objective: Objective) -> dict[str, str]:
    gradient = getattr(objective, "gradient", None)
    return {} if gradient is None else {"gradient": str(gradient)}
