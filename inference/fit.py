"""Fit a pair by stochastic variational inference, from a script."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyro
import torch
import yaml
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from tqdm.auto import tqdm

from pyrogen import __version__
from pyrogen.batch import Batch
from pyrogen.errors import CheckpointError, ConfigurationError, NonFiniteLoss, PairError
from pyrogen.pair import Pair

from .checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from .elbo import ELBO
from .estimate import Estimator
from .history import History, Row
from .objective import Objective
from .trainer import Trainer, rows_of
from .weights import check_extremes

__all__ = ["Run", "device_named", "fit", "linear_warmup"]

_SNAPSHOT_SECONDS = 5.0


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
        loop = _Loop(
            trainer,
            total=total,
            validate=None
            if validation is None
            else _Validation(validation, validation_estimator or ELBO(draws=8), place, seed),
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
        with _finish_step_on_interrupt() as interrupted, pyro.validation_enabled(False):
            loop.run(interrupted, progress=progress)
    pair.eval()
    return Run(pair, loop.history.rows, trainer.done, path, record, loop.stopped_early)


class _Validation:
    """Estimates log p(x) of the validation data, always with the same random numbers."""

    def __init__(self, data: Any, estimator: Estimator, device: torch.device, seed: int) -> None:
        self.batch: Batch = data.to(device).fixed() if hasattr(data, "fixed") else rows_of(data, device).draw()
        self.estimator, self.device, self.seed = estimator, device, seed

    def __call__(self, pair: Pair) -> float:
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            return float(self.estimator.estimate(pair, self.batch).log_prob.mean())


class _Loop:
    """The steps of a run, with logs, validations and checkpoints in between."""

    def __init__(
        self,
        trainer: Trainer,
        *,
        total: int,
        validate: _Validation | None,
        every: tuple[int, int, int],
        patience: int | None,
        path: Path | None,
        identity: dict[str, Any],
        history: History,
    ) -> None:
        self.trainer, self.total, self.validate = trainer, total, validate
        self.log_every, validate_every, checkpoint_every = every
        self.validate_every = validate_every * trainer.steps_per_epoch
        self.checkpoint_every = checkpoint_every * trainer.steps_per_epoch
        self.patience, self.path, self.identity, self.history = patience, path, identity, history
        self.best: dict[str, Any] = {"validation": -math.inf, "misses": 0, "pair": None}
        self.before = 0.0
        self.stopped_early = False
        self.snapshot = (time.perf_counter(), trainer.state())

    def resume(self, path: Path) -> None:
        """Take over the checkpoint of a directory."""
        state = load_checkpoint(path)
        for name, value in self.identity.items():
            if state["identity"].get(name) != value:
                raise CheckpointError(
                    f"{path} was fitted with {name}={state['identity'].get(name)!r}, and {name}={value!r} was asked for: "
                    "resume with the same, or choose another directory"
                )
        self.trainer.load(state, str(path))
        self.best, self.before = state["best"], state["seconds"]
        self.history.start(state["history"])
        self.snapshot = (time.perf_counter(), self.trainer.state())

    def run(self, interrupted: threading.Event, *, progress: bool) -> None:
        """Step until the end, an early stop or Ctrl-C."""
        trainer = self.trainer
        start, logged = time.perf_counter(), (time.perf_counter(), trainer.done)
        self.stopped_early = self._exhausted()
        with tqdm(total=self.total, initial=trainer.done, disable=not progress, unit="step", dynamic_ncols=True) as bar:
            while trainer.done < self.total and not self.stopped_early:
                trainer.step()
                done, last = trainer.done, trainer.done == self.total
                validating = self.validate is not None and (done % self.validate_every == 0 or last)
                if done % self.log_every == 0 or validating or last:
                    losses = trainer.take_losses()
                    if not bool(torch.isfinite(losses).all()):
                        self._fail(int((~torch.isfinite(losses)).nonzero()[0, 0]) + done - len(losses))
                    validation = self._validated() if validating else None
                    now = time.perf_counter()
                    row: Row = {
                        "step": done,
                        "epoch": done / trainer.steps_per_epoch,
                        "seconds": self.before + now - start,
                        "loss": float(losses.double().mean()),
                        "validation": validation,
                        "beta": float(trainer.beta(done - 1)),
                        "steps_per_second": (done - logged[1]) / (now - logged[0]),
                    }
                    logged = (now, done)
                    self.history.add(row)
                    bar.update(done - bar.n)
                    bar.set_postfix(nats=f"{-row['loss']:.2f}", refresh=False)
                    if now - self.snapshot[0] > _SNAPSHOT_SECONDS:
                        self.snapshot = (now, trainer.state())
                if (done % self.checkpoint_every == 0 or last or interrupted.is_set()) and self.path is not None:
                    self._save(trainer.state(), self.before + time.perf_counter() - start)
                if interrupted.is_set():
                    kept = f"; {self.path / CHECKPOINT} holds the run, resume=True goes on" if self.path else ""
                    self.history.close()
                    raise KeyboardInterrupt(f"stopped after step {done}{kept}")
        if self.best["pair"] is not None:
            trainer.pair.load_state_dict(self.best["pair"])
            if self.path is not None:
                self._save(trainer.state(), self.before + time.perf_counter() - start)
        self.history.close()

    def _validated(self) -> float:
        assert self.validate is not None
        value = self.validate(self.trainer.pair)
        if self.patience is not None:
            if value > self.best["validation"]:
                state = {k: v.detach().clone() for k, v in self.trainer.pair.state_dict().items()}
                self.best = {"validation": value, "misses": 0, "pair": state}
            else:
                self.best["misses"] += 1
            self.stopped_early = self._exhausted()
        return value

    def _exhausted(self) -> bool:
        return self.patience is not None and self.best["misses"] >= self.patience

    def _save(self, state: dict[str, Any], seconds: float) -> Path:
        path = (self.path or Path()) / CHECKPOINT
        extra = {
            "identity": self.identity,
            "best": self.best,
            "seconds": seconds,
            "history": self.history.rows,
        }
        save_checkpoint({**state, **extra}, path)
        return path

    def _fail(self, step: int) -> None:
        """Go back to the last good state, find out which sites failed, and stop."""
        trainer, state = self.trainer, self.snapshot[1]
        trainer.load(state, "the last good state")
        while trainer.done < step:
            trainer.step()
        sites = trainer.sites_not_finite()
        trainer.load(state, "the last good state")
        path = None if self.path is None else str(self._save(state, self.before))
        where = f"sites {', '.join(repr(s) for s in sites)}" if sites else "no single site (their sum overflowed)"
        self.history.close()
        raise NonFiniteLoss(
            f"the loss at step {step} is not finite; log_prob is not finite at {where}. The pair is back at step "
            f"{state['step']}{f', which {path} holds' if path else ''}. Bound what grows there (a scale near 0, logits "
            "without limit), lower lr, or clip the gradient",
            step,
            sites,
            path,
        )


@contextmanager
def _finish_step_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no step is cut in half; the second interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        with nullcontext():
            yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
