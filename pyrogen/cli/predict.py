"""What a run's fitted pair makes, a command each: samples, codes of data, reconstructions, walks, log p(x) of each datum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from pyrogen.errors import ConfigurationError

from .factories import make_estimators
from .options import add_run_options, spread_rows
from .pictures import as_data
from .saved import Saved, open_run

if TYPE_CHECKING:
    from pyrogen.data import Split

__all__ = ["Encode", "Interpolate", "LogProb", "Reconstruct", "Sample"]


class Prediction(ABC):
    """A command that opens a run, has its pair make something of a split, and writes that to a file."""

    out: str
    """The file, if no other is named."""
    suffixes: tuple[str, ...] = (".png", ".npy")
    """What its name may end in."""
    rows = 20

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's arguments."""
        add_run_options(parser, rows=self.rows)
        parser.add_argument(
            "--out", metavar="FILE", type=str, default=self.out, help=f"a file: {' or '.join(self.suffixes)}"
        )

    def run(self, options: Namespace) -> None:
        """Make and write.

        Raises:
            PyrogenError: the run cannot be opened, the pair cannot make it, or the file is of another kind.
        """
        out = Path(options.out)
        if out.suffix.lower() not in self.suffixes:
            raise ConfigurationError(f"--out {out}: name a file that ends in {' or '.join(self.suffixes)}")

        from pyrogen.devices import device_named

        saved = open_run(options.directory)
        saved.pair.to(device_named(options.device))
        rows = spread_rows(saved.split(options.get("split", "train")), options.get("rows", 1))
        out.parent.mkdir(parents=True, exist_ok=True)
        print(f"{self.write(saved, rows, options, out)}: {out}")

    @abstractmethod
    def write(self, saved: Saved, rows: Split, options: Namespace, out: Path) -> str:
        """Write the file, and return what is in it."""


class Sample(Prediction):
    """Draw samples from a run's fitted pair into a picture (.png) or an array (.npy)."""

    out = "samples.png"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `Prediction.add_arguments`."""
        add = parser.add_argument
        add("directory", metavar="RUN_DIRECTORY", type=str, help="what pyrogen fit wrote")
        add("--count", type=int, default=64, help="how many samples")
        add("--out", metavar="FILE", type=str, default=self.out, help="a .png picture or a .npy array")
        _add_mean(parser)
        add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, ...")
        add("--seed", type=int, default=0, help="seeds the draws")

    def write(self, saved: Saved, rows: Split, options: Namespace, out: Path) -> str:
        """See `Prediction.write`."""
        from pyrogen.report import plots

        shape = saved.dataset.shape
        drawn = saved.run.sample(options.count, like=saved.dataset.train[:2], mean=options.mean, seed=options.seed)
        _write(out, as_data(drawn, shape), lambda values: plots.samples(values, limit=options.count))
        return f"{options.count} samples of shape {shape}"


class Encode(Prediction):
    """Write the latents of a run's data, as its guide says, into arrays by their names (.npz)."""

    out, suffixes, rows = "codes.npz", (".npz",), 1_000_000

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `Prediction.add_arguments`."""
        super().add_arguments(parser)
        parser.add_argument("--draws", type=int | None, default=None, help="draws of each; the guide's mean if not given")

    def write(self, saved: Saved, rows: Split, options: Namespace, out: Path) -> str:
        """See `Prediction.write`."""
        import numpy as np

        codes = saved.run.encode(rows, draws=options.draws, seed=options.seed)
        np.savez_compressed(out, allow_pickle=False, **{name: value.cpu().numpy() for name, value in codes.items()})
        return ", ".join(f"{name} of shape {tuple(value.shape)}" for name, value in codes.items())


class Reconstruct(Prediction):
    """Encode and decode a run's data, into a picture beside them (.png) or an array (.npy)."""

    out = "reconstructions.png"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `Prediction.add_arguments`."""
        super().add_arguments(parser)
        _add_mean(parser)

    def write(self, saved: Saved, rows: Split, options: Namespace, out: Path) -> str:
        """See `Prediction.write`."""
        from pyrogen.report import plots

        batch = rows.fixed()
        inputs = as_data(batch if not isinstance(batch, tuple) else batch[0], rows.shape).numpy()
        made = saved.run.reconstruct(rows, mean=options.mean, seed=options.seed)
        _write(out, as_data(made, rows.shape), lambda values: plots.reconstructions(inputs, values, limit=len(rows)))
        return f"{len(rows)} reconstructions of shape {rows.shape}"


class Interpolate(Prediction):
    """Walk from each of a run's data to the next through their latents, into a picture (.png) or an array (.npy)."""

    out, rows = "interpolation.png", 9

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `Prediction.add_arguments`."""
        super().add_arguments(parser)
        parser.add_argument("--steps", type=int, default=9, help="points of a walk")
        parser.add_argument("--path", type=Literal["linear", "spherical"], default="linear", help="a line, or an arc")

    def write(self, saved: Saved, rows: Split, options: Namespace, out: Path) -> str:
        """See `Prediction.write`."""
        from pyrogen.report import plots

        if len(rows) < 2:
            raise ConfigurationError("a walk needs two data: --rows 2 or more")
        given = {"steps": options.steps, "path": options.path, "seed": options.seed}
        made = saved.run.interpolate(rows[:-1], rows[1:], **given)  # (data, steps, event...)
        _write(out, as_data(made, rows.shape, leading=2), lambda values: plots.interpolation(values, limit=len(rows)))
        return f"{len(made)} walks of {options.steps} steps"


class LogProb(Prediction):
    """Estimate log p(x) of each of a run's data into a table (.csv): nats, standard errors, diagnostics.

    An estimator is written as for pyrogen compare, such as is:5000.
    """

    out, suffixes, rows = "log_prob.csv", (".csv",), 1000

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `Prediction.add_arguments`."""
        super().add_arguments(parser)
        parser.add_argument(
            "--estimator",
            type=str | None,
            default=None,
            help="exact where there is a closed form, else is:1000, if not given",
        )

    def write(self, saved: Saved, rows: Split, options: Namespace, out: Path) -> str:
        """See `Prediction.write`."""
        import pandas

        estimator = None if options.estimator is None else make_estimators([options.estimator])[0]
        found = saved.run.log_prob(rows, estimator, seed=options.seed)
        columns = {name: getattr(found, name) for name in ("log_prob", "standard_error", "khat", "ess")}
        table = pandas.DataFrame({name: value.cpu() for name, value in columns.items() if value is not None})
        if rows.labels is not None:
            table.insert(0, "label", rows.labels.numpy())
        table.to_csv(out, index_label="datum")
        return f"{found.name}, {found.log_prob.mean():.3f} nats on average over {len(rows)} data"


def _add_mean(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--mean",
        action=ActionYesNo(no_prefix="no-"),
        default=None,
        help="the likelihood's mean given a latent, instead of a draw; as if given where the likelihood has a mean",
    )


def _write(out: Path, made: Any, draw: Any) -> None:
    """Write an array, or the picture that `draw` makes of it."""
    import numpy as np

    values = made.cpu().numpy()
    if out.suffix.lower() == ".npy":
        np.save(out, values)
    else:
        draw(values).savefig(out)
