"""Draw samples from a run's fitted pair into a picture (.png) or an array (.npy)."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError

from .pictures import as_data
from .saved import open_run

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add = parser.add_argument
    add("directory", metavar="RUN_DIRECTORY", type=str, help="what pyrogen fit wrote")
    add("--count", type=int, default=64, help="how many samples")
    add("--out", metavar="FILE", type=str, default="samples.png", help="a .png picture or a .npy array")
    add(
        "--mean",
        action=ActionYesNo(no_prefix="no-"),
        default=None,
        help="the likelihood's mean given a latent, instead of a draw; as if given where the likelihood has a mean",
    )
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    add("--seed", type=int, default=0, help="seeds the draws")


def run(options: Namespace) -> None:
    """Draw and write.

    Raises:
        PyrogenError: the run cannot be opened, the pair cannot be sampled, or the file is of another kind.
    """
    out = Path(options.out)
    if out.suffix.lower() not in (".png", ".npy"):
        raise ConfigurationError(f"--out {out}: name a file that ends in .png (a picture) or .npy (an array)")

    import numpy as np

    from pyrogen.devices import device_named
    from pyrogen.inference import sample
    from pyrogen.randomness import forked
    from pyrogen.report import plots

    saved = open_run(options.directory)
    device = device_named(options.device)
    like = saved.dataset.train[:2].to(device).fixed()
    with forked(device, options.seed):
        pair = saved.pair.to(device)
        drawn = sample(pair, like, options.count, mean=options.mean)
    values = as_data(drawn, saved.dataset.shape).cpu().numpy()  # (count, shape...)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".npy":
        np.save(out, values)
    else:
        plots.samples(values, limit=options.count).savefig(out)
    print(f"{options.count} samples of shape {saved.dataset.shape}: {out}")
