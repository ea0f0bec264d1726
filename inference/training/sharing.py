"""Which pairs can be trained on parts of a batch by several processes."""

from __future__ import annotations

from pyrogen.batch import Batch, length
from pyrogen.errors import PairError
from pyrogen.pair import Pair
from pyrogen.processes import Processes
from pyrogen.randomness import forked

from ..objectives.objective import Objective
from ..weights.evaluation import evaluation
from ..weights.terms import weigh

__all__ = ["require_divisible"]


def require_divisible(pair: Pair, batch: Batch, objective: Objective, processes: Processes) -> None:
    """Refuse a pair whose loss on a batch is not the mean of its losses on the parts of the batch.

    It is where all sites lie in the data plate. What all data share (a global latent) would be counted in each part; with a
    data plate of the full size, which scales the parts up, that is right for an ELBO.

    Raises:
        PairError: with the site that prevents it.
    """
    if processes.size == 1:
        return
    structure = pair.structure(batch)
    many = f"{processes.size} processes"
    if not structure.amortized:
        raise PairError(
            f"{type(pair).__name__} runs on a whole batch only (it has parameters for each datum, as an autoguide with "
            f"local latents has), which cannot be split over {many}: start one process, or use a guide that computes its "
            "parameters from the data"
        )
    with evaluation(pair), forked(batch):
        weighed = weigh(pair, batch, structure)
    whole = weighed.model.plate_size not in (None, length(batch))
    shared = [site.name for sites in (weighed.model, weighed.guide) for site in sites.visited.values() if site.dim is None]
    if shared and not whole:
        raise PairError(
            f"site '{shared[0]}' is shared by all data, and a batch split over {many} would count it {processes.size} "
            f"times: give the plate its full size, pyro.plate('{pair.data_plate}', size=N, subsample_size=len(x)), or start "
            "one process"
        )
    if whole and objective.divides_by == "batch":
        raise PairError(
            f"plate '{pair.data_plate}' scales a batch up, and {objective.name} then divides by the batch's length, which "
            f"differs for a batch split over {many}: use ELBO, or start one process"
        )
