"""Drawing from a causal transformer with a cache of keys and values, against computing the prefix anew for each position.

4 layers of width 128 with 4 heads, 28x28 binary images as sequences of 784, one thread. All peers have the same weights,
get the same uniform noise and take turns in one process. Computing the prefix anew is timed at 16 positions evenly spaced
over the sequence and scaled to all of them, for it takes seconds to minutes: what it costs depends on the position alone. It
is the network's own pass in parallel, with torch's fused attention, over the tokens so far and no others.

That the samplers draw what the pass in parallel would is tested on the finished images: it must draw, from the same noise,
the same images again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
from timing import ratio, run_again, turns

from pyrogen.distributions import Autoregressive
from pyrogen.nets.causal import CausalTransformer

WANTED = {1: {"eager": 28, "compiled": 60}, 16: {"eager": 75}}
"""By the number of images at once, how many times faster than computing the prefix anew each sampler should be."""


def timed(call: Callable[[], object], scale: float = 1.0) -> Callable[[], float]:
    """A function that calls and returns seconds, scaled."""

    def seconds() -> float:
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * scale

    return seconds


def draw(network: CausalTransformer, count: int, rounds: int, looked_at: int, compiled: bool) -> None:
    """Time drawing `count` images."""
    images, length = Autoregressive(network), network.positions
    noise = torch.rand(count, 1, *network.grid)
    with torch.no_grad():
        drawn = images.sample((count,), noise=noise)
        again = images.family.draw(network(images.family.encode(drawn)), noise)
    print(
        f"{count} at once: {int((again != drawn).sum())} of {drawn.numel()} pixels differ from those of the pass in parallel"
    )
    peers = {"eager": timed(lambda: images.sample((count,), noise=noise))}
    if compiled:
        start = time.perf_counter()
        other = images.sample((count,), noise=noise, compile=True)
        apart = int((other != drawn).sum())
        print(f"  compiled in {time.perf_counter() - start:.1f} s; {apart} pixels differ from eager ones")
        peers["compiled"] = timed(lambda: images.sample((count,), noise=noise, compile=True))
    before = [length * (2 * number + 1) // (2 * looked_at) for number in range(looked_at)]
    values = images.family.encode(drawn).flatten(2)

    def anew() -> None:
        with torch.no_grad():
            for position in before:
                network.of_prefix(values[..., :position])

    seconds = turns({"anew": timed(anew, length / looked_at), **peers}, rounds)
    for name in peers:
        gained, median = ratio(seconds, "anew", name), statistics.median(seconds[name])
        wanted = WANTED.get(count, {}).get(name) if length == 784 else None
        words = f" (wanted: {wanted}x, {'met' if gained >= wanted else 'NOT MET'})" if wanted else ""
        print(f"  {name:8s} {median:7.3f} s, {1e6 * median / length:5.0f} us a position: ", end="")
        print(f"{gained:6.1f}x computing the prefix anew{words}", flush=True)
    print(f"  {'anew':8s} {statistics.median(seconds['anew']):7.1f} s, scaled from {looked_at} positions")


def main() -> None:
    """Run all, on one thread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, few rounds, nothing compiled")
    parser.add_argument("--batches", default="1,16", help="numbers of images drawn at once")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--eager", action="store_true", help="leave the compiled sampler out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.quick:
        draw(CausalTransformer((6, 6), width=16, layers=2).eval(), 2, 1, 2, compiled=False)
        return
    network = CausalTransformer((28, 28)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)  # so that positions matter to one another, as in a trained network
    for count in map(int, options.batches.split(",")):
        draw(network, count, options.rounds, 16, compiled=not options.eager)


if __name__ == "__main__":
    if "PYROGEN_BENCHMARK_THREADS" in os.environ:
        main()
    else:
        sys.exit(run_again(__file__, 1, sys.argv[1:]))
