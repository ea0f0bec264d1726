"""Drawing from a gated PixelCNN: step by step with what was computed before kept, against one full pass for each pixel.

15 layers of 64 channels, kernels of side 3 after a first one of 7, binary images, one thread. All peers have the same
weights, get the same uniform noise and take turns in one process. Seconds are those that its only thread has spent on the
processor, which other work on the machine hardly changes. The full pass for each pixel is timed on a few pixels and scaled
to all of them, for it takes minutes to hours: every pass costs the same. It has two forms:

- *by hand*: the network as one writes it with torch, images channel by channel in memory, gates with a tanh;
- *our pass*: `GatedPixelCNN.forward`, which is faster, so that less is left to gain.

That both samplers draw what a pass for each pixel would is tested on the finished images: one pass over them must draw, from
the same noise, the same image again.

Then the gradient of `log_prob`, against that of the same network and a sum of cross entropies without the distribution.
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
from torch import Tensor
from torch.nn import functional as F

from pyrogen.distributions import PixelCNN
from pyrogen.nets.causal import GatedPixelCNN

WANTED = {
    (28, 1): {"eager": 35, "compiled": 130},
    (28, 16): {"eager": 280, "compiled": 500},
    (28, 64): {"eager": 550, "compiled": 800},
    (64, 16): {"eager": 3500},
}
"""By (side, batch), how many times faster than a full pass for each pixel, by hand, each sampler should be."""


def written_by_hand(network: GatedPixelCNN) -> Callable[[Tensor], Tensor]:
    """The same network with the same weights in plain torch."""
    weights = [{name: p.detach().contiguous() for name, p in layer.named_parameters()} for layer in network.layers]
    head = [(layer.weight.detach().contiguous(), layer.bias.detach()) for layer in network.head]

    def gate(x: Tensor) -> Tensor:
        value, opening = x.chunk(2, 1)
        return torch.tanh(value / 2) * torch.sigmoid(opening)

    def forward(x: Tensor) -> Tensor:
        down = right = x
        for number, w in enumerate(weights):
            rows, side = w["vertical.weight"].shape[2:]
            shift = int(number == 0)
            above = F.pad(down, (side // 2, side // 2, rows - 1 + shift, 0))[:, :, : down.shape[2] + rows - 1]
            before = F.conv2d(above, w["vertical.weight"], w["vertical.bias"])
            left = F.pad(right, (w["horizontal.weight"].shape[3] - 1 + shift, 0))
            left = left[..., : left.shape[-1] - shift]
            link = F.conv2d(before, w["link.weight"], w["link.bias"])
            out = F.conv2d(gate(F.conv2d(left, w["horizontal.weight"]) + link), w["out.weight"])
            right = out if number == 0 else right + out
            down = gate(before)
        for weight, bias in head:
            right = F.conv2d(F.relu(right), weight, bias)
        return right

    return forward


def timed(call: Callable[[], object], scale: float = 1.0) -> Callable[[], float]:
    """A function that calls and returns this thread's seconds on the processor, scaled."""

    def seconds() -> float:
        start = time.thread_time()
        call()
        return (time.thread_time() - start) * scale

    return seconds


def draw(network: GatedPixelCNN, count: int, rounds: int, passes: int, compiled: bool) -> None:
    """Time drawing `count` images."""
    side = network.grid[0]
    images, by_hand = PixelCNN(network), written_by_hand(network)
    noise = torch.rand(count, 1, *network.grid)
    with torch.no_grad():
        drawn = images.sample((count,), noise=noise)
        again = images.family.draw(network(images.family.encode(drawn)), noise)
        apart = (by_hand(drawn) - network(drawn)).abs().max().item()
    print(
        f"{side}x{side}, {count} at once: {int((again != drawn).sum())} of {drawn.numel()} pixels differ from a full pass's",
        end="",
    )
    print(f"; outputs by hand and ours are within {apart:.0e}")
    peers = {"eager": timed(lambda: images.sample((count,), noise=noise))}
    if compiled:
        start = time.perf_counter()
        other = images.sample((count,), noise=noise, compile=True)
        print(
            f"  compiled in {time.perf_counter() - start:.1f} s; {int((other != drawn).sum())} pixels differ from eager ones"
        )
        peers["compiled"] = timed(lambda: images.sample((count,), noise=noise, compile=True))

    def full(forward: Callable[[Tensor], Tensor]) -> Callable[[], float]:
        def run() -> None:
            with torch.no_grad():
                for _ in range(passes):
                    forward(drawn)

        return timed(run, network.positions / passes)

    seconds = turns({"by hand": full(by_hand), "our pass": full(network), **peers}, rounds)
    for name in peers:
        gained = ratio(seconds, "by hand", name)
        wanted = WANTED.get((side, count), {}).get(name)
        words = f" (wanted: {wanted}x, {'met' if gained >= wanted else 'NOT MET'})" if wanted else ""
        per_image = statistics.median(seconds[name]) / count
        print(f"  {name:8s} {statistics.median(seconds[name]):7.3f} s, {1e3 * per_image:6.2f} ms an image: ", end="")
        print(
            f"{gained:6.0f}x a full pass by hand for each pixel{words}, {ratio(seconds, 'our pass', name):6.0f}x our pass",
            flush=True,
        )
    for name in ("by hand", "our pass"):
        print(f"  {name:8s} {statistics.median(seconds[name]):7.1f} s for all pixels, scaled from {passes} passes")


def score(network: GatedPixelCNN, count: int, rounds: int) -> None:
    """Time `log_prob` and its gradient against the network with a loss by hand."""
    x = torch.bernoulli(torch.full((count, 1, *network.grid), 0.3))
    images = PixelCNN(network, validate_args=False)

    def step(loss: Callable[[], Tensor]) -> Callable[[], float]:
        def run() -> None:
            network.zero_grad()
            loss().backward()

        return timed(run)

    seconds = turns(
        {
            "log_prob": step(lambda: -images.log_prob(x).sum()),
            "by hand": step(lambda: F.binary_cross_entropy_with_logits(network(x), x, reduction="sum")),
        },
        rounds,
        shuffle=True,
    )
    value = ratio(seconds, "log_prob", "by hand")
    print(f"log_prob and its gradient, {count} images: {value:.3f} of the time by hand (wanted: at most 1.05)")


def main() -> None:
    """Run all, on one thread."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, few rounds, nothing compiled")
    parser.add_argument("--batches", default="1,16,64", help="numbers of 28x28 images drawn at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--eager", action="store_true", help="leave the compiled sampler out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.quick:
        small = GatedPixelCNN((6, 6), features=4, layers=2).eval()
        draw(small, 2, 1, 1, compiled=False)
        score(small, 2, 1)
        return
    network = GatedPixelCNN((28, 28)).eval()
    for count in map(int, options.batches.split(",")):
        draw(network, count, options.rounds, 3 if count < 64 else 1, compiled=not options.eager)
    large = GatedPixelCNN((64, 64)).eval()
    draw(large, 16, min(3, options.rounds), 1, compiled=not options.eager)
    score(network, 16, options.rounds)


if __name__ == "__main__":
    if "PYROGEN_BENCHMARK_THREADS" in os.environ:
        main()
    else:
        sys.exit(run_again(__file__, 1, sys.argv[1:]))
