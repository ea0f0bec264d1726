"""The loop around the steps of a run: logs, validations, checkpoints, and what ends a run before its time."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from pyrogen.batch import Batch
from pyrogen.errors import CheckpointError, ConfigurationError, NonFiniteLoss, ProcessError
from pyrogen.pair import Pair
from pyrogen.processes import Processes
from pyrogen.randomness import forked
from pyrogen.run_directory import forget_results

from ..estimators.estimate import Estimator
from ..estimators.shares import estimate_in_shares
from ..weights.evaluation import evaluation_batch, grey_pixels_allowed
from .callbacks import Callback, Training
from .checkpoints import CHECKPOINT, load_checkpoint, save_checkpoint
from .history import History, Row
from .trainer import Trainer

__all__ = ["Loop", "Validation", "finish_step_on_interrupt"]

_SNAPSHOT_SECONDS = 5.0


class Validation:
    """Estimates log p(x) of the validation data, always with the same random numbers."""

    def __init__(
        self, data: Any, estimator: Estimator, device: torch.device, seed: int, processes: Processes | None = None
    ) -> None:
        self.batch = evaluation_batch(data, device)
        self.estimator, self.device, self.seed = estimator, device, seed
        self.processes = processes or Processes()

    def __call__(self, pair: Pair) -> float:
        """The mean estimate, in nats per datum."""
        with forked(self.device), grey_pixels_allowed():
            found = estimate_in_shares(self.estimator, pair, self.batch, self.processes, seed=self.seed)
            return float(found.log_prob.mean())


class Loop:
    """The steps of a run, with logs, validations and checkpoints in between."""

    def __init__(
        self,
        trainer: Trainer,
        *,
        total: int,
        validate: Validation | None,
        every: tuple[int, int, int],
        patience: int | None,
        path: Path | None,
        identity: dict[str, Any],
        history: History,
        example: Batch,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.trainer, self.total, self.validate = trainer, total, validate
        self.processes = trainer.processes
        self.log_every, validate_every, checkpoint_every = every
        self.validate_every = validate_every * trainer.steps_per_epoch
        self.checkpoint_every = checkpoint_every * trainer.steps_per_epoch
        self.patience, self.path, self.identity, self.history = patience, path, identity, history
        self.example = example
        self.best: dict[str, Any] = {"validation": -math.inf, "misses": 0, "pair": None}
        self.before = 0.0
        self.saved: int | None = None
        self.stopped_early = False
        self.snapshot = (time.perf_counter(), trainer.state())
        self.callbacks = list(callbacks)
        self.training = Training(trainer.pair, total, path, first=self.processes.first)

    def resume(self, path: Path) -> None:
        """Take over the checkpoint of a directory, which the first process reads for all."""
        state = self.processes.from_first(lambda: load_checkpoint(path))
        for name, value in self.identity.items():
            if state["identity"].get(name) != value:
                raise CheckpointError(
                    f"{path} was fitted with {name}={state['identity'].get(name)!r}, and {name}={value!r} was asked for: "
                    "resume with the same, or choose another directory"
                )
        ranks = state.get("processes", [{}])
        if len(ranks) != self.processes.size:
            raise CheckpointError(
                f"{path} was fitted with processes={len(ranks)}, each of which has random numbers of its own, and "
                f"processes={self.processes.size} was asked for: start as many (torchrun --nproc-per-node {len(ranks)}), or "
                "choose another directory"
            )
        self.trainer.load({**state, **ranks[self.processes.rank]}, str(path))
        self.saved = self.trainer.done
        self.best, self.before = state["best"], state["seconds"]
        self.history.start(state["history"])
        self.snapshot = (time.perf_counter(), self.trainer.state())

    def run(self, interrupted: threading.Event, *, progress: bool) -> None:
        """Step until the end, an early stop or Ctrl-C.

        Raises:
            ProcessError: another process is gone; the last checkpoint is named.
        """
        self.trainer.interrupted = lambda: interrupted.is_set() or self.training.stopping
        try:
            self._run(progress=progress and self.processes.first)
        except ProcessError as error:
            if self.path is None or self.saved is None:
                raise
            kept = f"{self.path / CHECKPOINT} holds the run as of step {self.saved}, resume=True goes on"
            raise ProcessError(f"{error}. {kept}") from error
        finally:
            self._call("on_end")

    def _run(self, *, progress: bool) -> None:
        trainer = self.trainer
        start, logged = time.perf_counter(), (time.perf_counter(), trainer.done)
        self.stopped_early = self._exhausted()
        with tqdm(total=self.total, initial=trainer.done, disable=not progress, unit="step", dynamic_ncols=True) as bar:
            while trainer.done < self.total and not self.stopped_early:
                trainer.step(self._steps_to_event())
                done, last = trainer.done, trainer.done == self.total
                self._call("on_step")
                validating = self.validate is not None and (done % self.validate_every == 0 or last)
                if done % self.log_every == 0 or validating or last:
                    self._check_losses()
                    means = trainer.take_means()
                    losses = {name: value for name, value in means.items() if name.startswith("loss") and value is not None}
                    validation = self._validated() if validating else None
                    now = time.perf_counter()
                    row: Row = {
                        "step": done,
                        "epoch": done / trainer.steps_per_epoch,
                        "seconds": self.before + now - start,
                        **means,
                        "validation": validation,
                        "beta": float(trainer.beta(done - 1)),
                        "steps_per_second": (done - logged[1]) / (now - logged[0]),
                    }
                    logged = (now, done)
                    if validation is not None:
                        self._call("on_validation", validation)
                    self._call("on_row", row)
                    self.history.add({name: _number(name, value) for name, value in row.items()})
                    bar.update(done - bar.n)
                    shown = {"nats": -losses["loss"]} if "loss" in losses else losses
                    bar.set_postfix({name: f"{value:.2f}" for name, value in shown.items()}, refresh=False)
                    if self.processes.any(now - self.snapshot[0] > _SNAPSHOT_SECONDS):
                        self.snapshot = (now, trainer.state())
                stopping = trainer.stopping()
                if done % self.checkpoint_every == 0 or last or self.stopped_early or stopping:
                    trainer.align()
                    if self.path is not None:
                        self._check_losses()
                        self._save(trainer.state(), self.before + time.perf_counter() - start)
                if stopping and self.processes.any(self.training.stopping):
                    self.stopped_early = True
                elif stopping:
                    kept = f"; {self.path / CHECKPOINT} holds the run, resume=True goes on" if self.path else ""
                    raise KeyboardInterrupt(f"stopped after step {done}{kept}")
        if self.best["pair"] is not None:
            trainer.pair.load_state_dict(self.best["pair"])

    def _steps_to_event(self) -> int:
        """Steps until something is to be done between two steps."""
        done = self.trainer.done
        if any(self._wants(callback, "on_step") for callback in self.callbacks):
            return 1
        every = [self.log_every, self.checkpoint_every, *([] if self.validate is None else [self.validate_every])]
        return min(self.total - done, *(period - done % period for period in every))

    @staticmethod
    def _wants(callback: Callback, event: str) -> bool:
        return getattr(type(callback), event) is not getattr(Callback, event)

    def _call(self, event: str, *args: Any) -> None:
        """Tell the callbacks of an event; what they draw, and the mode that they leave the pair in, is undone."""
        for callback in self.callbacks:
            if self._wants(callback, event):
                self.training.step, self.training.rows = self.trainer.done, self.history.rows
                mode = self.trainer.pair.training
                with forked(self.trainer.device):
                    getattr(callback, event)(self.training, *args)
                if self.trainer.pair.training != mode:
                    self.trainer.pair.train(mode)

    def _validated(self) -> float:
        assert self.validate is not None
        self.trainer.align()
        value = self.validate(self.trainer.pair)
        if self.patience is not None:
            if value > self.best["validation"]:
                state = {k: v.detach().clone() for k, v in self.trainer.pair.state_dict().items()}
                self.best = {"validation": value, "misses": 0, "pair": state}
            else:
                self.best["misses"] += 1
            self.stopped_early = self._exhausted()
        return value

    def _check_losses(self) -> None:
        """Stop where a loss since the last row of the history is not finite, so that nothing bad is logged or saved."""
        found = self.trainer.first_not_finite()
        if found is not None:
            self._fail(*found)

    def _exhausted(self) -> bool:
        return self.patience is not None and self.best["misses"] >= self.patience

    def _save(self, state: dict[str, Any], seconds: float) -> Path:
        """Write a checkpoint; when the call returns in one process, the first one has written it."""
        path = (self.path or Path()) / CHECKPOINT
        own = self.processes.gather({name: state[name] for name in ("generators", "objective")})
        extra = {
            "identity": self.identity,
            "best": self.best,
            "seconds": seconds,
            "history": self.history.rows,
            "stopped_early": self.stopped_early,
            "example": self.example,
            **({"processes": own} if self.processes.size > 1 else {}),
        }
        if self.processes.first:
            forget_results(path.parent, self.best["pair"] or state["pair"])
            save_checkpoint({**state, **extra}, path)
        self.processes.wait()
        self.saved = state["step"]
        self._call("on_checkpoint", path)
        return path

    def _fail(self, step: int, phase: str) -> None:
        """Go back to the last good state, find out which sites failed, and stop."""
        trainer, state = self.trainer, self.snapshot[1]
        trainer.load(state, "the last good state")
        while trainer.done < step:
            trainer.step(step - trainer.done)
        found = self.processes.gather(trainer.sites_not_finite())
        sites = list(dict.fromkeys(site for names in found for site in names))
        trainer.load(state, "the last good state")
        path = None if self.path is None else str(self._save(state, self.before))
        where = f"sites {', '.join(repr(s) for s in sites)}" if sites else "no single site (their sum overflowed)"
        loss = "the loss" if len(trainer.phases) == 1 else f"the loss of phase '{phase}'"
        raise NonFiniteLoss(
            f"{loss} at step {step} is not finite; log_prob is not finite at {where}. The pair is back at step "
            f"{state['step']}{f', which {path} holds' if path else ''}. Bound what grows there (a scale near 0, logits "
            "without limit), lower lr, or clip the gradient",
            step,
            sites,
            path,
            phase,
        )


def _number(name: str, value: Any) -> float | int | None:
    """A value of a row as a plain number, for files to hold it."""
    if value is None or isinstance(value, (int, float)):
        return value
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"a callback put {name}={value!r} into a row of the history: put a number") from None


@contextmanager
def finish_step_on_interrupt() -> Iterator[threading.Event]:
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
