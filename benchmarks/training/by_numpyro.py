"""NumPyro: a jitted `svi.update` for each step, all steps in one `lax.scan` of it, and `SVI.run`.

`SVI.run` takes no batches: it has the first batch in every step, and so no gather; it is jitted as a whole, for otherwise it
compiles again at every call.
"""

from __future__ import annotations

import time
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .problem import Left, Peer, Problem, Runner, Workload

__all__ = ["peers"]

Mode = Literal["jit", "scan", "SVI.run"]


def peers(workload: Workload) -> list[Peer]:
    """One for each way to run the steps."""
    modes: tuple[Mode, ...] = ("jit", "scan", "SVI.run")
    return [Peer(f"NumPyro {mode}", partial(_SVI, workload, mode), compiler="xla") for mode in modes]


class _SVI(Runner):
    """`numpyro.infer.SVI`."""

    def __init__(self, workload: Workload, mode: Mode, problem: Problem) -> None:
        for module in ("jax", "numpyro"):
            if find_spec(module) is None:
                raise Left(f"{module} is not installed: pip install 'pyrogen[bench]'")
        import jax
        import jax.numpy as jnp
        import numpyro

        self.problem, self.mode = problem, mode
        self.data = tuple(jnp.asarray(values) for values in problem.data)
        rows = None if problem.rows is None else jnp.asarray(problem.rows, jnp.int32)
        self.rows = [None] * problem.steps if rows is None else list(rows)  # slices are made before anything is timed
        self.all_rows = rows
        program = workload.numpyro()
        svi = numpyro.infer.SVI(program.model, program.guide, numpyro.optim.Adam(problem.lr), program.elbo)

        def update(state: Any, data: tuple[Any, ...], row: Any) -> tuple[Any, Any]:
            return svi.update(state, *_gather(data, row))

        def scan(state: Any, data: tuple[Any, ...], rows: Any) -> tuple[Any, Any]:
            return jax.lax.scan(lambda s, row: update(s, data, row), state, rows, length=problem.steps)

        def run(state: Any, batch: tuple[Any, ...]) -> tuple[Any, Any]:
            result = svi.run(state.rng_key, problem.steps, *batch, progress_bar=False, init_state=state)
            return result.state, result.losses

        self.update, self.scan, self.run = jax.jit(update), jax.jit(scan), jax.jit(run)
        self.first = _gather(self.data, self.rows[0])
        self.state = jax.jit(svi.init)(jax.random.key(0), *self.first)

    def losses(self) -> NDArray[np.float64]:
        """See `Runner.losses`."""
        return np.asarray(self._steps(), np.float64) / self.problem.count

    def seconds(self) -> float:
        """See `Runner.seconds`; single losses are not read, for each would be a copy."""
        import jax

        start = time.perf_counter()
        losses = self._steps()
        jax.block_until_ready((losses[-1], self.state))
        return (time.perf_counter() - start) / self.problem.steps

    def _steps(self) -> Any:
        if self.mode == "scan":
            self.state, losses = self.scan(self.state, self.data, self.all_rows)
        elif self.mode == "SVI.run":
            self.state, losses = self.run(self.state, self.first)
        else:
            losses = []
            for row in self.rows:
                self.state, loss = self.update(self.state, self.data, row)
                losses.append(loss)
        return losses


def _gather(data: tuple[Any, ...], row: Any) -> tuple[Any, ...]:
    """The rows of one batch; `row` of None stands for all data."""
    return data if row is None else tuple(values.at[row].get(mode="promise_in_bounds") for values in data)
