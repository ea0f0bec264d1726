"""What a fitted pair makes: samples from its prior, reconstructions, and walks through its latent space.

Axes: data; steps (of a walk); event.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments, index, length, map_tensors
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Sites, run_guide, run_model
from pyrogen.programs.structure import Structure

from ..weights.evaluation import evaluation
from ..weights.terms import visit

__all__ = ["reconstruct", "sample", "traverse"]


def sample(pair: Pair, like: Batch, count: int, *, mean: bool | None = True) -> Tensor:
    """Draw latents from the prior and give what the likelihood makes of them; of a sampler, its draws.

    Args:
        pair: the pair.
        like: some data; their shapes and dtypes say what a batch looks like, their values are not used.
        count: how many to draw.
        mean: give the mean of the likelihood (a grey image) instead of a draw from it (a noisy one); None gives the mean
            where there is one, which an autoregressive likelihood has not, and else a draw.

    Returns:
        (count, event...).

    Raises:
        PairError: the pair observes several sites, or one whose distribution has no mean.
    """
    structure = pair.structure(like)
    rows = length(like)
    repeated = map_tensors(like, lambda tensor: tensor[torch.arange(count, device=tensor.device) % rows])
    args, kwargs = arguments(repeated)
    with evaluation(pair), pair.scope():
        if not pair.has_density:
            drawn: Tensor = pair.model(*args, **kwargs)
            return drawn
        model = run_model(pair, args, kwargs, {}, nesting=structure.nesting, draw=True)
    return _output(model, structure, mean)


def reconstruct(pair: Pair, batch: Batch, *, mean: bool | None = True) -> Tensor:
    """Encode data with the guide and decode them with the model.

    Args:
        pair: the pair.
        batch: the data.
        mean: see `sample`.

    Returns:
        (data, event...).

    Raises:
        PairError: see `sample`.
    """
    structure = pair.structure(batch)
    with evaluation(pair):
        _, model = visit(pair, batch, structure)
    return _output(model, structure, mean)


def traverse(pair: Pair, batch: Batch, *, steps: int = 9, dimensions: int = 10, width: float = 2.5) -> Tensor:
    """Walk along single dimensions of the first latent of one datum, all else held at the guide's draw.

    The dimensions whose draws vary most over the batch, against the guide's own noise, come first.

    Args:
        pair: the pair, with a real-valued vector as its first local latent.
        batch: the data; the walk starts from the first datum.
        steps: points of a walk.
        dimensions: how many dimensions to walk along, at most.
        width: how far to go to either side, in units of the latent.

    Returns:
        (dimensions, steps, event...).

    Raises:
        PairError: the pair has no such latent; see `sample` for the output.
    """
    if steps < 2 or dimensions < 1:
        raise ConfigurationError(f"a walk needs 2 steps and 1 dimension at least, not {steps} and {dimensions}")
    structure = pair.structure(batch)
    args, kwargs = arguments(batch)
    with evaluation(pair), pair.scope():
        guide = run_guide(pair, args, kwargs, nesting=structure.nesting)
        vectors = (n for n in structure.latents if n in structure.local and guide.visited[n].fn.event_dim == 1)
        name = next(vectors, None)
        if name is None or not guide.visited[name].value.is_floating_point():
            raise PairError("the pair has no real-valued latent vector in its data plate to walk along")
        value = guide.visited[name].value.reshape(length(batch), -1)  # (data, latent)
        spread = value.var(0, correction=0)  # (latent,)
        order = spread.argsort(descending=True, stable=True)[:dimensions]
        offsets = torch.linspace(-width, width, steps, device=value.device, dtype=value.dtype)
        points = value[0].repeat(len(order), steps, 1)  # (dimensions, steps, latent)
        for row, dimension in enumerate(order.tolist()):
            points[row, :, dimension] = offsets
        start = index(batch, torch.zeros(len(order) * steps, dtype=torch.long, device=value.device))
        args, kwargs = arguments(start)
        guide = run_guide(pair, args, kwargs, nesting=structure.nesting)
        latents = {n: v[:1].expand_as(v) if n in structure.local else v for n, v in guide.latents().items()}
        latents[name] = points.reshape(latents[name].shape)  # (dimensions * steps, latent)
        model = run_model(pair, args, kwargs, latents, indices=guide.indices, nesting=structure.nesting)
    output = _output(model, structure, mean=True)
    return output.reshape(len(order), steps, *output.shape[1:])


def _output(model: Sites, structure: Structure, mean: bool | None) -> Tensor:
    if len(structure.observed) != 1:
        raise PairError(f"a picture needs one observed site, and the pair has {list(structure.observed)}")
    site = model.visited[structure.observed[0]]
    if mean is not False:
        try:
            return site.fn.mean  # type: ignore[no-any-return]
        except NotImplementedError as error:
            if mean:
                raise PairError(f"the likelihood at site '{site.name}' has no mean: ask for mean=False") from error
    return site.fn.sample()  # type: ignore[no-any-return]
