"""What a fitted pair makes: samples from its prior, codes of data, reconstructions, and walks through its latent space.

Axes: data; draws; steps (of a walk); event.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments, index, length, map_tensors
from pyrogen.errors import ConfigurationError, PairError
from pyrogen.pair import Pair
from pyrogen.programs.run import Site, Sites, run_guide, run_model
from pyrogen.programs.structure import Structure

from ..weights.evaluation import evaluation
from ..weights.terms import visit

__all__ = ["Path", "encode", "interpolate", "reconstruct", "sample", "traverse"]

Path: TypeAlias = Literal["linear", "spherical"]
"""A straight line, or the arc of a circle around the origin, on which the draws of a standard Gaussian lie."""


def sample(pair: Pair, like: Batch, count: int, *, mean: bool | None = True) -> Tensor:
    """Draw latents from the prior and give what the likelihood makes of them; of a sampler, its draws.

    Args:
        pair: the pair.
        like: some data; their shapes and dtypes say what a batch looks like, their values are not used.
        count: how many to draw.
        mean: give the mean of the likelihood (a grey image) instead of a draw from it (a noisy one); None gives the mean
            where there is one and latents for it to depend on, and else a draw.

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


def encode(pair: Pair, batch: Batch, *, draws: int | None = None) -> dict[str, Tensor]:
    """Give the latents of data, as the guide says.

    Args:
        pair: the pair.
        batch: the data.
        draws: how many draws of the guide to give; None gives its mean, of a discrete latent its mode, and a draw where its
            distribution has neither. A latent that depends on another one is given the other's.

    Returns:
        The latents in the data plate by name, each (data, event...), or (draws, data, event...); plates inside the data
        plate come before the event.

    Raises:
        PairError: the pair has no latents in its data plate.

    Example:
        >>> from pyrogen.models import VAE
        >>> encode(VAE((4,), latent=2), torch.zeros(3, 4))["z"].shape
        torch.Size([3, 2])
    """
    if draws is not None and draws < 1:
        raise ConfigurationError(f"draws must be at least 1, not {draws}")
    structure = pair.structure(batch)
    names = _local_latents(structure, "encode")
    args, kwargs = arguments(batch)
    with evaluation(pair), pair.scope():
        if draws is None:
            guide = run_guide(pair, args, kwargs, nesting=structure.nesting, given=dict.fromkeys(names, _centre))
            return {name: _data_first(guide.visited[name]) for name in names}
        runs = [run_guide(pair, args, kwargs, nesting=structure.nesting) for _ in range(draws)]
    return {name: torch.stack([_data_first(run.visited[name]) for run in runs]) for name in names}


def interpolate(pair: Pair, batch: Batch, others: Batch, *, steps: int = 9, path: Path = "linear") -> Tensor:
    """Walk from each datum to another through the latents of both.

    Args:
        pair: the pair, whose latents in the data plate are real-valued.
        batch: where the walks start; what else the model depends on, such as labels, is theirs.
        others: where they end, one for each.
        steps: points of a walk, both ends included.
        path: ``"linear"``, or ``"spherical"`` (White 2016, https://arxiv.org/abs/1609.04468).

    Returns:
        (data, steps, event...), the likelihood's mean.

    Raises:
        PairError: the pair has no latents, or discrete ones; see `sample` for the output.

    Example:
        >>> from pyrogen.models import VAE
        >>> x = torch.eye(4)
        >>> interpolate(VAE((4,), latent=2), x[:2], x[2:], steps=5).shape
        torch.Size([2, 5, 4])
    """
    if steps < 2 or length(batch) != length(others):
        raise ConfigurationError(
            f"a walk has 2 steps at least and two ends: there are {steps} steps, {length(batch)} data to start from and "
            f"{length(others)} to end at"
        )
    structure = pair.structure(batch)
    names = _local_latents(structure, "walk through")
    with evaluation(pair), pair.scope():
        ends: list[Sites] = []
        for end in (batch, others):
            shared = {name: value for name, value in ends[0].latents().items() if name not in names} if ends else {}
            args, kwargs = arguments(end)
            given = dict.fromkeys(names, _centre) | shared
            ends.append(run_guide(pair, args, kwargs, nesting=structure.nesting, given=given))
        latents, rows = ends[0].latents(), length(batch)
        for name in names:
            site = ends[0].visited[name]
            if not site.value.is_floating_point() or _is_discrete(site.fn):
                raise PairError(f"latent '{name}' is discrete: there is nothing between two of its values")
            start, end = (_data_first(run.visited[name]) for run in ends)
            walk = _between(start.reshape(rows, -1), end.reshape(rows, -1), steps, path)  # (data, steps, latent)
            value = walk.reshape(rows * steps, *start.shape[1:])
            latents[name] = value.movedim(0, (site.dim or 0) - site.fn.event_dim)
        args, kwargs = arguments(map_tensors(batch, lambda tensor: tensor.repeat_interleave(steps, 0)))
        model = run_model(pair, args, kwargs, latents, nesting=structure.nesting)
    output = _output(model, structure, mean=True)
    return output.reshape(rows, steps, *output.shape[1:])


def reconstruct(pair: Pair, batch: Batch, *, mean: bool | None = True) -> Tensor:
    """Encode data with the guide and decode them with the model.

    Args:
        pair: the pair.
        batch: the data.
        mean: see `sample`.

    Returns:
        (data, event...).

    Raises:
        PairError: the pair has no latents in its data plate; see `sample`.
    """
    structure = pair.structure(batch)
    _local_latents(structure, "reconstruct from")
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
    if mean or (mean is None and structure.latents):  # the mean without latents would be that of all data
        try:
            return site.fn.mean  # type: ignore[no-any-return]
        except NotImplementedError as error:
            if mean:
                raise PairError(f"the likelihood at site '{site.name}' has no mean: ask for mean=False") from error
    return site.fn.sample()  # type: ignore[no-any-return]


def _local_latents(structure: Structure, use: str) -> list[str]:
    names = [name for name in structure.latents if name in structure.local]
    if not names:
        raise PairError(f"the pair has no latents in its data plate to {use}")
    return names


def _centre(fn: Any) -> Tensor:
    """The mean of a distribution, its mode where it is discrete, and a draw where it has neither."""
    try:
        value: Tensor = fn.mode if _is_discrete(fn) else fn.mean
    except (NotImplementedError, AttributeError):
        return fn.sample()  # type: ignore[no-any-return]
    return fn.sample() if value.isnan().any() else value


def _is_discrete(fn: Any) -> bool:
    try:
        return bool(fn.support.is_discrete)
    except NotImplementedError:
        return False


def _data_first(site: Site) -> Tensor:
    """The value of a site in the data plate, (data, plates..., event...)."""
    return site.value.movedim((site.dim or 0) - site.fn.event_dim, 0)


def _between(start: Tensor, end: Tensor, steps: int, path: Path) -> Tensor:
    """Points from `start` to `end`, both (data, latent): (data, steps, latent)."""
    share = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype).unsqueeze(-1)  # (steps, 1)
    start, end = start.unsqueeze(1), end.unsqueeze(1)  # (data, 1, latent)
    if path == "linear":
        return start + share * (end - start)
    if path != "spherical":
        raise ConfigurationError(f"path={path!r}: choose 'linear' or 'spherical'")
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1).unsqueeze(-1)
    angle = cosine.acos()  # (data, 1, 1)
    arc = (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / angle.sin()
    return torch.where(angle.sin().abs() < 1e-4, start + share * (end - start), arc)
