"""Fit a pair to data; write a run directory.

PAIR is a name that `pyrogen models` lists, a class (package.module:Class), a class in a file (file.py:Class), or two Pyro
functions in a file (file.py:model,guide). Its constructor's arguments are given as --args.NAME VALUE.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import SUPPRESS, ActionYesNo, ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError
from pyrogen.registry.names import absolute

from .factories import make_objective, make_optimizer, make_scheduler
from .options import add_compile_option, add_data_options, load_data, processes_on
from .pairs import build_pair
from .pictures import save_pictures

if TYPE_CHECKING:
    from pyrogen.data import Dataset

__all__ = ["add_arguments", "run"]

_UNRECORDED = ("config", "name", "resume", "overwrite", "progress", "built", "fit", "versions", "tokens")


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    yes_no = ActionYesNo(no_prefix="no-")
    add = parser.add_argument
    add("--config", action="config", help="a YAML file of these options, underscores for hyphens; a run's own will do")
    add("name", metavar="PAIR", nargs="?", type=str | None, default=None, help="what to fit; 'pair' in a YAML file")
    add("--pair", type=str | None, default=None, help=SUPPRESS)
    add("--args", type=dict[str, Any], default={}, help="the pair's arguments, as --args.NAME VALUE or as YAML")
    add("--data", type=str | None, default=None, help="where the data come from; see pyrogen data")
    add_data_options(parser)
    add("--objective", type=str, default="elbo", help="what to maximise: elbo, iwae:K, renyi:ALPHA:K, or a class")
    gradients = Literal["pathwise", "sticking-the-landing", "doubly-reparameterized", "score-function"]
    add("--gradient", type=gradients | None, default=None, help="its gradient estimator, if not its default")
    add("--epochs", type=int | None, default=None, help="passes over the data")
    add("--steps", type=int | None, default=None, help="optimizer steps, instead of epochs; 3,000 without either")
    add("--batch-size", type=int, default=128, help="data per step, of each process")
    add("--lr", type=float, default=1e-3, help="learning rate")
    add("--optimizer", type=str | None, default=None, help="Adam if not given; such as SGD:momentum=0.9")
    add("--scheduler", type=str | None, default=None, help="of the learning rate: cosine, or such as StepLR:step_size=1000")
    add("--clip", type=float | None, default=None, help="largest norm of the gradient")
    add("--beta", type=float, default=1.0, help="factor of the ELBO's divergence")
    add("--warmup", type=int | None, default=None, help="steps over which that factor rises from 0")
    add("--patience", type=int | None, default=None, help="stop after so many epochs without a better validation")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add_compile_option(parser)
    add("--steps-per-call", type=int, default=1, help="steps that a compiled run of a small model takes in one call")
    add("--keep", type=Literal["auto", "device", "host"], default="auto", help="where the training data are kept")
    add("--precision", type=Literal["float32", "tf32", "bf16"], default="float32", help="of matrix products")
    add("--seed", type=int, default=0, help="seeds initial parameters, batches and draws")
    add("--directory", type=str | None, default=None, help="where the run goes; runs/PAIR-DATA if not given")
    add("--resume", action=yes_no, default=False, help="go on from the directory's checkpoint")
    add("--overwrite", action=yes_no, default=False, help="begin anew in a directory that holds a run")
    add("--checkpoint-every", type=int, default=1, help="epochs between checkpoints")
    add("--log-every", type=int, default=100, help="steps between rows of history.csv")
    add("--tensorboard", action=yes_no, default=False, help="write TensorBoard curves, too")
    add("--progress", action=yes_no, default=None, help="show a progress bar; as if on a terminal")
    # A run's own config.yaml holds these beside the options.
    add("--built", type=dict | None, default=None, help=SUPPRESS)
    add("--fit", type=dict | None, default=None, help=SUPPRESS)
    add("--versions", type=dict | None, default=None, help=SUPPRESS)


def run(options: Namespace) -> None:
    """Fit, draw the pictures, say where things are; under torchrun the first process alone draws and says.

    Raises:
        PyrogenError: an option cannot be used, or the fit failed.
        KeyboardInterrupt: after Ctrl-C; the message says how to go on.
    """
    from pyrogen.inference import fit, linear_warmup
    from pyrogen.inference.training.fitting import DEFAULT_STEPS

    name = options.name or options.pair
    if name is None:
        raise ConfigurationError("name a pair: pyrogen fit PAIR --data SOURCE; pyrogen models lists those of the zoo")
    if options.epochs is not None and options.steps is not None:
        raise ConfigurationError("say how long to train by either --epochs or --steps")
    dataset = load_data(options.data, options)
    pair, given = build_pair(name, options.args, options.get("tokens", []), shape=dataset.shape, seed=options.seed)
    directory = Path(options.directory or f"runs/{_slug(name)}-{_slug(dataset.name)}")
    kept = {key: value for key, value in options.as_dict().items() if key not in _UNRECORDED}
    arguments = {key: value for key, value in kept.items() if key in inspect.signature(fit).parameters} | {
        "pair": pair,
        "data": dataset.train,
        "objective": make_objective(options.objective, options.gradient),
        "optimizer": options.optimizer and make_optimizer(options.optimizer, options.lr),
        "scheduler": options.scheduler and make_scheduler(options.scheduler),
        "beta": options.beta if options.warmup is None else _scaled(linear_warmup(options.warmup), options.beta),
        "validation": dataset.validation,
        "directory": directory,
        "resume": options.resume,
        "progress": options.progress,
        "config": {**kept, "pair": absolute(name), "args": given, "directory": str(directory)},
    }
    with processes_on(options.device) as processes:
        processes.from_first(lambda: _make_room(directory, resume=options.resume, overwrite=options.overwrite))
        if processes.first:
            print(_heading(dataset), flush=True)
            if options.epochs is None and options.steps is None:
                print(f"training for {DEFAULT_STEPS:,} steps, as neither --epochs nor --steps says how long", flush=True)
        try:
            done = fit(**arguments)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(_how_to_go_on(str(error), directory, processes.size)) from error
        if processes.first:
            rows = dataset.validation if dataset.validation is not None else dataset.test
            missing = save_pictures(done.pair, rows, directory, seed=options.seed)
            print(done)
            for picture, reason in missing.items():
                print(f"no {picture}: {reason}")
            print(f"checkpoint, history, configuration and pictures are in {directory}")
            print(f"next: pyrogen {'compare' if done.pair.has_density else 'sample'} {directory}")


def _how_to_go_on(message: str, directory: Path, processes: int) -> str:
    """What to print after Ctrl-C."""
    said = message.partition(";")[0]  # by `fit`; a second Ctrl-C, which cuts a step in half, leaves it no time to
    state = f"{said}; the checkpoint is written" if said else "stopped at once; the last checkpoint counts"
    program = "pyrogen" if processes == 1 else f"torchrun --nproc-per-node {processes} -m pyrogen"
    return f"{state}. Go on with: {program} fit --config {shlex.quote(str(directory / 'config.yaml'))} --resume"


def _scaled(schedule: Callable[[int], float], factor: float) -> Callable[[int], float]:
    return lambda step: factor * schedule(step)


def _make_room(directory: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to overwrite a run unasked, and remove one that is to be overwritten."""
    from pyrogen.run_directory import CHECKPOINT, remove_run

    if (directory / CHECKPOINT).exists() and not (resume or overwrite):
        raise ConfigurationError(
            f"{directory} holds a run: go on with it (--resume), begin anew (--overwrite), or choose another --directory"
        )
    if not resume:
        remove_run(directory)


def _heading(dataset: Dataset) -> str:
    held = "no validation data" if dataset.validation is None else f"{len(dataset.validation):,} for validation"
    return (
        f"{dataset.name}: {len(dataset.train):,} data of shape {dataset.shape} to train on, {held}; "
        f"binarization: {dataset.train.binarize}"
    )


def _slug(name: str) -> str:
    """The end of a name, fit for a folder's name.

    Example:
        >>> _slug("examples/own_pair.py:MyVAE"), _slug("synthetic:rings")
        ('MyVAE', 'synthetic-rings')
    """
    last = name.rpartition(":")[2] if ".py:" in name else name
    return re.sub(r"[^\w.]+", "-", last).strip("-")
