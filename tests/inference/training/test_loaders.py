"""Training on what is no tensor: the same numbers where the rows are the same, a loader's own batches, resumed in place."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoDelta
from scipy import sparse
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset, WeightedRandomSampler

from pyrogen import Pair
from pyrogen.errors import ConfigurationError, DataError, NonFiniteLoss, PairError
from pyrogen.inference import ELBO, ImportanceSampling, compare, fit
from pyrogen.models import VAE, LinearGaussianVAE

fit = functools.partial(fit, device="cpu", progress=False)
X = torch.bernoulli(torch.rand(23, 6, generator=torch.Generator().manual_seed(0)))


def vae():
    torch.manual_seed(1)
    return VAE((6,), latent=2, hidden=(8,))


def weights(run):
    return torch.cat([value.flatten() for value in run.pair.state_dict().values()])


class Rows(Dataset):
    def __init__(self, noisy=False):
        self.noisy, self.read = noisy, []

    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        self.read.append(row)
        return torch.bernoulli(torch.full((6,), 0.3)) if self.noisy else X[row]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


SAME = {
    "array": X.double().numpy(),
    "data set": Rows(),
    "tensor data set": TensorDataset(X),
    "counts, SciPy": sparse.csr_matrix(X.numpy()),
    "counts, torch": X.to_sparse(),
    "tuple": (X.numpy(),),
}


@pytest.mark.parametrize("compile", [False, "graph"])
@pytest.mark.parametrize("name", SAME)
def test_the_rows_of_a_tensor_train_as_the_tensor(name, compile):
    options = {"steps": 9, "batch_size": 8, "compile": compile, "validation": SAME[name], "log_every": 1}
    whole = fit(vae(), X, **{**options, "validation": X})
    run = fit(vae(), SAME[name], **options)
    assert torch.equal(weights(run), weights(whole))
    assert [row["validation"] for row in run.history] == [row["validation"] for row in whole.history]


def test_a_frame_reaches_the_arguments_of_its_columns():
    def model(age, income):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 40, subsample=age):
            pyro.sample("income", dist.Normal(slope * age, 0.5), obs=income)

    age = np.linspace(-1, 1, 40)
    income = 0.8 * age + 0.5 * np.random.default_rng(0).normal(size=40)
    run = fit(
        Pair.of(model, AutoDelta(model)), pd.DataFrame({"age": age, "income": income}), steps=400, batch_size=40, lr=0.05
    )
    exact = (age @ income) / (age @ age + 0.25)
    slope = next(value for name, value in run.pair.state_dict().items() if "slope" in name)
    assert float(slope) == pytest.approx(exact, abs=1e-3)


def test_a_loader_s_batches_are_taken_as_they_come():
    seen = []

    class Watched(LinearGaussianVAE):
        def guide(self, batch):
            seen.append(len(batch))
            return super().guide(batch)

    loader = DataLoader(Rows(), batch_size=7, shuffle=True, drop_last=True, collate_fn=lambda rows: 2.0 * torch.stack(rows))
    run = fit(Watched((6,), latent=2), loader, epochs=2, compile=False)
    assert run.steps == 6
    assert seen[-6:] == [7] * 6
    assert run.config["fit"]["batches"] == 3
    assert run.config["fit"]["batch_size"] == 7
    read = loader.dataset.read[:21], loader.dataset.read[21:42]
    assert [len(set(epoch)) for epoch in read] == [21, 21]
    assert read[0] != read[1]


LOADERS = {
    "in order": lambda: DataLoader(Rows(), batch_size=7),
    "shuffled": lambda: DataLoader(TensorDataset(X), batch_size=7, shuffle=True),
    "with a generator": lambda: DataLoader(Rows(), batch_size=7, shuffle=True, generator=torch.Generator().manual_seed(5)),
    "with noise": lambda: DataLoader(Rows(noisy=True), batch_size=7, shuffle=True),
    "with replacement": lambda: DataLoader(Rows(), batch_size=7, sampler=WeightedRandomSampler(torch.ones(23), 30)),
    "with workers": lambda: DataLoader(Rows(noisy=True), batch_size=7, shuffle=True, num_workers=1),
}


@pytest.mark.parametrize("name", LOADERS)
def test_a_resumed_run_goes_on_with_the_next_batch(tmp_path, name):
    """The checkpoint of step 6 is in the second epoch; what others draw in between changes nothing."""
    whole = fit(vae(), LOADERS[name](), steps=11, log_every=1)
    fit(vae(), LOADERS[name](), steps=6, directory=tmp_path)
    torch.rand(5)
    run = fit(vae(), LOADERS[name](), steps=11, directory=tmp_path, resume=True, log_every=1)
    assert torch.equal(weights(run), weights(whole))
    assert [row["loss"] for row in run.history[-5:]] == [row["loss"] for row in whole.history[-5:]]


def test_the_generator_of_a_loader_says_the_order():
    loss = []
    for seed in (5, 5, 6):
        generator = torch.Generator().manual_seed(seed)
        run = fit(vae(), DataLoader(TensorDataset(X), batch_size=7, shuffle=True, generator=generator), steps=3)
        loss.append(run.history[-1]["loss"])
    assert loss[0] == loss[1] != loss[2]


class Mine(Sampler):
    def __iter__(self):
        return iter(range(len(X)))

    def __len__(self):
        return len(X)


@pytest.mark.parametrize(
    "make", [lambda: DataLoader(Rows(), batch_size=7, sampler=Mine()), lambda: DataLoader(Stream(), batch_size=7), Stream]
)
def test_what_cannot_be_wound_back_says_so(tmp_path, make):
    fit(vae(), make(), steps=5, directory=tmp_path)
    with pytest.warns(UserWarning, match="step 5 goes on with the loader's first batches"):
        run = fit(vae(), make(), steps=7, directory=tmp_path, resume=True)
    assert run.steps == 7


def test_data_without_a_length_are_trained_on_by_steps():
    whole = fit(vae(), DataLoader(TensorDataset(X), batch_size=8), steps=7)
    run = fit(vae(), Stream(), steps=7, batch_size=8, validation=X, checkpoint_every=1)
    assert torch.equal(weights(run), weights(whole))
    assert run.history[-1]["epoch"] == pytest.approx(7 / 1000)
    with pytest.raises(ConfigurationError, match=r"the data have no length, .* give steps"):
        fit(vae(), Stream(), epochs=1)


BAD = {
    "nothing left": (lambda: DataLoader(Rows(), batch_size=24, drop_last=True), {}, DataError, "has no batches"),
    "a stream that is empty": (
        lambda: DataLoader(Stream(), batch_size=24, drop_last=True),
        {},
        DataError,
        "gives no batches",
    ),
    "fused steps": (
        lambda: DataLoader(Rows()),
        {"compile": "graph", "steps_per_call": 2},
        ConfigurationError,
        "needs data in",
    ),
    "grey pixels outside": (lambda: sparse.csr_matrix(2 * X.numpy()), {}, PairError, "outside the support"),
    "text": (lambda: np.array(["a", "b"]), {}, DataError, "are no numbers"),
    "keep": (lambda: X.numpy(), {"keep": "host"}, ConfigurationError, "keep='host' takes"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_trained_on_is_named(name):
    make, options, error, message = BAD[name]
    with pytest.raises(error, match=message):
        fit(vae(), make(), steps=2, **options)


def test_latents_of_each_datum_need_a_loader_of_one_batch():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = torch.randn(10, generator=torch.Generator().manual_seed(0))
    run = fit(Pair.of(model, AutoDelta(model)), DataLoader(TensorDataset(x), batch_size=10), steps=2)
    assert run.steps == 2
    with pytest.raises(PairError, match=r"a batch of 4 data as a whole only .* a loader of one batch"):
        fit(Pair.of(model, AutoDelta(model)), DataLoader(TensorDataset(x), batch_size=4), steps=2)


@pytest.mark.parametrize("name", ["array", "data set", "counts, SciPy", "counts, torch"])
def test_estimates_are_those_of_the_tensor(name):
    pair = vae()
    estimators = [ELBO(), ImportanceSampling(20)]
    expected, seen = (compare(pair, data, estimators, seed=1) for data in (X, SAME[name]))
    assert seen.data == expected.data
    for one, other in zip(expected.estimates, seen.estimates, strict=True):
        assert torch.equal(one.log_prob, other.log_prob)


def test_estimates_of_a_shuffled_loader_are_in_the_order_of_its_data_set():
    pair = vae()
    loader = DataLoader(TensorDataset(X), batch_size=5, shuffle=True)
    expected, seen = (compare(pair, data, [ELBO()], seed=1).estimates[0].log_prob for data in (X, loader))
    assert torch.equal(seen, expected)


def test_a_loss_that_is_not_finite_names_the_sites_of_its_batch():
    x = torch.zeros(40, 6)
    x[30] = torch.nan
    with pytest.raises(NonFiniteLoss, match="log_prob is not finite at site") as caught:
        fit(LinearGaussianVAE((6,), latent=2), DataLoader(TensorDataset(x), batch_size=4), steps=30, log_every=1)
    assert caught.value.step == 7
