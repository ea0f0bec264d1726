"""What each of two processes does in the tests of many processes: ``python process_scenarios.py FOLDER SCENARIO...``.

The environment says which process this is, as torchrun would. What a scenario returns, or the error that it meets, is left
in ``FOLDER/SCENARIO-RANK.pt``.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyrogen import Pair
from pyrogen.cli import main as cli
from pyrogen.inference import ELBO, IWAE, Exact, ImportanceSampling, Loss, Phase, compare, fit
from pyrogen.inference.training import loop
from pyrogen.models import VAE, DiscreteVAE, GlobalGaussian, LinearGaussianVAE

fit = partial(fit, device="cpu", progress=False)


class Drawless(Pair):
    """An autoencoder whose code has no spread: its loss depends on the data alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.encoder = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()
        self.decoder = nn.Linear(2, 5).double()
        self.unused = nn.Linear(3, 3).double()

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.encoder(x), event_dim=1))


def doubled(batch_size, rows, mode, **options):
    """A run that can be told from that of another number of processes by nothing but rounding."""
    x = torch.randn(rows, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pair = Drawless()
    run = fit(pair, x, epochs=3, batch_size=batch_size, lr=0.02, clip=0.5, log_every=1, compile=mode, seed=4, **options)
    return {"losses": [row["loss"] for row in run.history], "pair": pair.state_dict(), "steps": run.steps}


def equal_eager(folder, rank):
    return doubled(8, 49, False)  # the last batch leaves no row for the second process


def equal_graph(folder, rank):
    return doubled(8, 51, "graph")


def equal_whole(folder, rank):
    return doubled(64, 51, False)


def looped(mode):
    """A run on the batches of a loader: eight rows, of which each process takes four, and a last one of three."""
    x = torch.randn(51, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pair = Drawless()
    loader = DataLoader(TensorDataset(x), batch_size=8, shuffle=True)
    run = fit(pair, loader, epochs=2, lr=0.02, log_every=1, compile=mode, seed=4)
    return {"losses": [row["loss"] for row in run.history], "pair": pair.state_dict(), "steps": run.steps}


def equal_loader(folder, rank):
    return looped("graph")


class Regressed(ELBO):
    """Two phases without random numbers: the ELBO, and a network of the objective's own that learns the sum of a datum."""

    def __init__(self):
        super().__init__(kl="sampled")
        torch.manual_seed(4)
        self.networks["sum"] = nn.Linear(5, 1).double()

    def phases(self, pair, batch):
        return [
            Phase("pair", self.compute, list(pair.parameters()), every=2),
            Phase("sum", self.regression, list(self.networks.parameters())),
        ]

    def regression(self, pair, batch, state, *, beta=1.0):
        return Loss((self.networks["sum"](batch)[:, 0] - batch.sum(-1)).square().mean(), state)


def phased(batch_size):
    x = torch.randn(48, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pair, objective = Drawless(), Regressed()
    run = fit(pair, x, objective=objective, epochs=3, batch_size=batch_size, lr=0.02, log_every=1, seed=4)
    losses = [[row["loss.pair"] or 0.0, row["loss.sum"]] for row in run.history]
    return {"losses": losses, "pair": pair.state_dict(), "networks": objective.networks.state_dict()}


def two_phases(folder, rank):
    return phased(8)


def noisy(name, width=6):
    torch.manual_seed(1)
    if name == "discrete":
        return DiscreteVAE((width,), latent=2)
    pair = VAE((width,), latent=2, hidden=(8,))
    pair.encoder.net.insert(1, nn.BatchNorm1d(8))
    pair.encoder.net.insert(2, nn.Dropout(0.3))
    return pair


def binary(rows=45, width=6):
    return torch.bernoulli(torch.rand(rows, width, generator=torch.Generator().manual_seed(0)))


def resumed(folder, rank):
    """By pair: the state of a run that never stopped, of one that was resumed, and the values that they validated."""
    found = {}
    for name in ("vae", "discrete"):
        options = {"batch_size": 5, "validation": binary()[:9], "log_every": 2, "objective": ELBO()}
        directory = folder / f"run-{name}-{rank}"
        whole = fit(noisy(name), binary(), epochs=4, **options)
        fit(noisy(name), binary(), epochs=2, directory=directory, **options)
        torch.manual_seed(99 + rank)
        again = fit(noisy(name), binary(), epochs=4, directory=directory, resume=True, **options)
        found[name] = [whole.pair.state_dict(), again.pair.state_dict(), [r["validation"] for r in again.history]]
        found[f"{name} losses"] = [[row["loss"] for row in run.history] for run in (whole, again)]
    return found


def interrupted(folder, rank):
    """The second process alone is interrupted."""
    pair, done = noisy("vae"), []

    def stop(*_):
        done.extend([None] * pair.training)
        if rank == 1 and len(done) == 7:
            os.kill(os.getpid(), signal.SIGINT)

    pair.likelihood.register_forward_hook(stop)
    fit(pair, binary(), steps=40, batch_size=5, directory=folder / "interrupted", compile=False)


class Explodes(Pair):
    def __init__(self, at):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))
        self.register_buffer("clock", torch.zeros(()))
        self.at, self.drawn = at, []

    def model(self, x):
        if self.training:
            self.clock += 1
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z + torch.where(self.clock > self.at, torch.nan, 0.0), 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0))
        if self.training:
            self.drawn.append(z.detach())


def draws(folder, rank):
    """What each process draws for one and the same datum, and what a single process draws."""
    pair = Explodes(at=10**6)
    fit(pair, torch.ones(6), epochs=1, batch_size=1, lr=0.0)
    return torch.stack(pair.drawn)


def nonfinite(folder, rank):
    # The last good state is taken by the clock, and has to be of the same step in all processes.
    loop._SNAPSHOT_SECONDS = 0.0 if rank else 1e9
    x = torch.randn(20, generator=torch.Generator().manual_seed(0))
    fit(Explodes(at=13 if rank else 10**6), x, steps=40, batch_size=10, log_every=5, directory=folder / "nonfinite")


class Fails(Explodes):
    """The second process meets at step 5 what the first does not."""

    def __init__(self, rank, end):
        super().__init__(at=10**6)
        self.rank, self.end, self.runs = rank, end, 0

    def model(self, x):
        self.runs += self.training
        if self.rank == 1 and self.runs == 6:
            self.end()
        super().model(x)


def failing(folder, rank):
    def end():
        raise ValueError("no luck")

    x = torch.randn(40, generator=torch.Generator().manual_seed(0))
    try:
        fit(Fails(rank, end), x, steps=40, batch_size=10, directory=folder / "failing")
    finally:
        if rank == 1:
            time.sleep(2.0)  # it lives on, and the first process has to notice all the same


def killed(folder, rank):
    x = torch.randn(40, generator=torch.Generator().manual_seed(0))
    fit(Fails(rank, lambda: os.kill(os.getpid(), signal.SIGKILL)), x, steps=40, batch_size=10, directory=folder / "killed")


def oracle():
    torch.manual_seed(1)
    pair = LinearGaussianVAE((4,), latent=2, guide="full").double()
    pair.set_exact_guide(offset=0.3, scale=1.2)
    return pair, torch.randn(41, 4, dtype=torch.float64)


def compared(folder, rank):
    pair, x = oracle()
    table = compare(pair, x, [ELBO(draws=100), IWAE(5), ImportanceSampling(500, draws=20), Exact()], device="cpu", seed=2)
    few = compare(pair, x[:1], [ELBO()], device="cpu", seed=2)
    columns = [e.log_prob for e in table.estimates]
    found = table["IS(500)"]
    return {
        "columns": columns,
        "errors": [e.standard_error for e in table.estimates],
        "khat": found.khat,
        "ess": found.ess,
        "draws": found.draws.latents["z"],
        "likelihood": found.draws.log_likelihood,
        "evaluations": [e.evaluations for e in table.estimates],
        "curve": [found.curve.bound, found.curve.error],
        "rows": table.data["rows"],
        "few": few["ELBO"].log_prob,
    }


def shared_site(folder, rank):
    fit(GlobalGaussian((3,)), torch.randn(8, 3), steps=2, batch_size=4)


def scaled_plate(folder, rank):
    """A global latent is right where the plate has its full size: the loss is that of the doubled batch."""
    return {"losses": scaled_losses(5)}


def scaled_losses(batch_size):
    def model(x):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        with pyro.plate("data", 40, subsample_size=len(x)):
            pyro.sample("x", dist.Normal(mu.double(), 1.0).to_event(1), obs=x)

    def guide(x):
        pyro.sample("mu", dist.Delta(pyro.param("loc", torch.zeros(2)), event_dim=1))

    x = torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    run = fit(Pair.of(model, guide), x, epochs=2, batch_size=batch_size, lr=0.1, log_every=1, objective=ELBO(kl="sampled"))
    return [row["loss"] for row in run.history]


def local_guide(folder, rank):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    fit(Pair.of(model, AutoNormal(model)), torch.randn(8), steps=2, batch_size=8)


def other_data(folder, rank):
    fit(VAE((6,), latent=2, hidden=(4,)), binary(20 + rank), steps=2, batch_size=4)


def commands(folder, rank):
    """Status, output and errors of: a fit, the same fit again, which is refused, and a comparison."""
    run = str(folder / "command")
    fitting = ["fit", "vae", "--data", "digits", "--binarize", "dynamic", "--steps", "2", "--args.hidden", "[8]"]
    found = []
    for words in (
        [*fitting, "--device", "cpu", "--directory", run],
        [*fitting, "--device", "cpu", "--directory", run],
        ["compare", run, "--estimators", "elbo", "iwae:5", "--device", "cpu"],
    ):
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            try:
                status = cli(words)
            except SystemExit as end:
                status = end.code
        found.append([status, out.getvalue(), err.getvalue()])
    return found


def other_start(folder, rank):
    """Parameters, buffers and what a process makes of them begin and stay as those of the first process."""
    torch.manual_seed(rank)
    pair = VAE((6,), latent=2, hidden=(4,))
    fit(pair, binary(), epochs=1, batch_size=5, objective=IWAE(3))
    return pair.state_dict()


def main(folder: Path, names: list[str]) -> None:
    """Run scenarios one after the other, whatever becomes of each."""
    rank = int(os.environ["RANK"])
    for name in names:
        start = time.perf_counter()
        try:
            found = {"value": globals()[name](folder, rank)}
        except (Exception, KeyboardInterrupt) as error:
            found = {"error": type(error).__name__, "text": str(error)}
        found["seconds"] = time.perf_counter() - start
        torch.save(found, folder / f"{name}-{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # an interpreter with threads of a process group may abort as it shuts down
