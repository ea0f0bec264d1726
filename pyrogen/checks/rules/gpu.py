"""Rules of devices: whether the pair would run on a GPU, and without waiting for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pyrogen.programs.faults import Fault

from ..examples import RIGHT, changed
from ..fake_runs import on_fake_cuda, on_meta
from ..rule import Seen, rule
from ..simulated_step import simulate_step, uses_given_state
from ..subject import Subject
from ..tensor_names import name_of
from ..watchers.device_record import DeviceMix, HostRead


@rule(
    Fault(
        "PG601",
        "error",
        "a tensor is made on the default device",
        why="Once pair and batch are on a GPU, the tensor is still made on the CPU, and the first operation that takes both "
        "raises. A number in a distribution's place, as in Normal(0.0, 1.0), becomes such a tensor when a plate expands it.",
        remedy="Make the tensor from what the program is given: x.new_zeros(...), torch.arange(..., device=x.device), or a "
        "buffer",
    ),
    bad=changed(RIGHT, ("x.new_zeros(2)", "torch.zeros(2)")),
)
def tensor_on_default_device(subject: Subject) -> Iterator[Seen]:
    """Find new tensors on the CPU in a simulated step; if there are none, ask torch's fake devices."""
    mixes = simulate_step(subject).mixes
    for mix in mixes:
        if mix.origin.tensor is not None and name_of(mix.origin.tensor, subject.pair) is not None:
            continue  # PG602 reports it
        origin = mix.origin.line or mix.origin.used
        yield Seen(
            f"a tensor made on the CPU meets tensors of a GPU in {_operation(mix)}, with shape {mix.shape}"
            + (f" at {mix.line}" if mix.line and mix.line != origin else ""),
            shape=mix.shape,
            line=origin or mix.line,
        )
    if mixes:
        return
    verdicts = (("with fake tensors on cuda:0", on_fake_cuda(subject)), ("on the meta device", on_meta(subject)))
    for where, verdict in verdicts:
        if verdict.mixed and uses_given_state(subject):
            yield Seen(f"run {where}, the pair raises {verdict.error}", line=verdict.line)
            return


_ATTRIBUTE = """\
class MyVAE(Pair):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)
        self.prior_mean = torch.zeros(2)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.prior_mean, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))

pair, batch = MyVAE(), torch.randn(8, 3)
"""


@rule(
    Fault(
        "PG602",
        "error",
        "a tensor does not move with the pair",
        why="pair.to('cuda') moves parameters and buffers. A tensor that is a plain attribute, or one of a closure, a "
        "global or a list, stays on the CPU, and the first operation that takes it and another one raises; checkpoints lack "
        "it, too.",
        remedy="Register it: self.register_buffer('name', tensor), or wrap it in nn.Parameter if it is to be trained",
    ),
    bad=_ATTRIBUTE,
    fixed=changed(_ATTRIBUTE, ("self.prior_mean = torch.zeros(2)", 'self.register_buffer("prior_mean", torch.zeros(2))')),
)
def unowned_tensor(subject: Subject) -> Iterator[Seen]:
    """Find tensors from before the run that the pair does not own and its code names."""
    for mix in simulate_step(subject).mixes:
        tensor = mix.origin.tensor
        name = None if tensor is None else name_of(tensor, subject.pair)
        if tensor is not None and name is not None:
            shape = tuple(tensor.shape)
            yield Seen(
                f"{name}, a tensor of shape {shape} that the pair does not own, stays on the CPU when the pair moves to a "
                "GPU",
                shape=shape,
                line=mix.line or mix.origin.used,
            )


@rule(
    Fault(
        "PG603",
        "error",
        "a program turns a tensor into a NumPy array",
        why="NumPy cannot read the memory of a GPU: torch raises a TypeError there. What NumPy computes has no gradient "
        "either.",
        remedy="Compute with torch",
    ),
    bad=changed(RIGHT, ("encoder(x)", "encoder(x - x.new_tensor(x.numpy().mean(-1, keepdims=True)))")),
    fixed=changed(RIGHT, ("encoder(x)", "encoder(x - x.mean(-1, keepdim=True))")),
)
def numpy_of_device_tensor(subject: Subject) -> Iterator[Seen]:
    """Find ``x.numpy()``, ``np.asarray(x)`` and the like."""
    for line, call, times in _by_line(read for read in simulate_step(subject).reads if read.refused):
        yield Seen(f"{call} on a tensor that would be on a GPU{times}", line=line)


@rule(
    Fault(
        "PG604",
        "warning",
        "the host waits for a value of the device",
        why="Kernels are queued ahead of the GPU. Reading a value empties that queue in every step, and the GPU then idles "
        "while Python catches up; neither CUDA graphs nor compilation can get past it.",
        remedy="Keep the value a tensor: torch.where in place of `if`, tensor arithmetic in place of float(); log after the "
        "step",
    ),
    bad=changed(RIGHT, ("encoder(x)", "encoder(x / (1.0 + x.abs().max().item()))")),
    fixed=changed(RIGHT, ("encoder(x)", "encoder(x / (1.0 + x.abs().amax(-1, keepdim=True)))")),
)
def host_reads(subject: Subject) -> Iterator[Seen]:
    """Find ``.item()``, ``float(tensor)``, ``if tensor:``, ``.cpu()`` and the like."""
    reads = simulate_step(subject).reads
    for line, call, times in _by_line(read for read in reads if not (read.refused or read.shapes)):
        yield Seen(f"{call} waits for the device{times}", line=line)


@rule(
    Fault(
        "PG605",
        "warning",
        "the shape of a tensor depends on values",
        why="The host must wait for the values to know the size of the result, in every step, and a CUDA graph or a "
        "compiled step, whose shapes are fixed, cannot contain it.",
        remedy="Keep the shape: torch.where(mask, value, 0.0), sums weighted by the mask, or poutine.mask around the site",
    ),
    bad=changed(RIGHT, ("decoder(z)", "decoder(z) + z[z > 0].sum()")),
    fixed=changed(RIGHT, ("decoder(z)", "decoder(z) + torch.where(z > 0, z, 0.0).sum(-1, keepdim=True)")),
)
def shape_depends_on_values(subject: Subject) -> Iterator[Seen]:
    """Find indexing with a mask, ``nonzero``, ``unique`` and the like."""
    for line, call, times in _by_line(read for read in simulate_step(subject).reads if read.shapes):
        yield Seen(f"{call} gives a result whose shape depends on values{times}", line=line)


_BRANCH = changed(
    RIGHT,
    ("encoder(x)", "encoder(x.tanh() if x[0, 0] > 0 else x.sin())"),
    ("torch.randn(8, 3)", "torch.linspace(1.0, -1.0, 48).reshape(16, 3)"),
)


@rule(
    Fault(
        "PG606",
        "note",
        "runs differ in their operations",
        why="A recorded graph, be it of CUDA, of torch.compile or of pyrogen's compile=True, repeats the operations of one "
        "run. What Python decides anew from values, counters or random numbers is frozen in it.",
        remedy="Decide by tensors (torch.where), or train without compile and CUDA graphs",
    ),
    bad=_BRANCH,
    fixed=changed(_BRANCH, ("x.tanh() if x[0, 0] > 0 else x.sin()", "torch.where(x > 0, x.tanh(), x.sin())")),
)
def operations_differ(subject: Subject) -> Iterator[Seen]:
    """Compare the operations of two runs on other data and random numbers."""
    difference = simulate_step(subject).first_difference
    if difference is not None:
        operation, line = difference
        yield Seen(f"two runs on batches of one shape first differ at operation {operation}", line=line)


def _operation(mix: DeviceMix) -> str:
    operation = mix.operation.strip("_")
    return "the gradient" if operation in ("grad", "backward") else operation


def _by_line(reads: Iterator[HostRead]) -> Iterator[tuple[str, str, str]]:
    """Line, call and a phrase such as ``", 3 times a run"`` for each kind of read at a line of the user's code."""
    counts = Counter((read.line, read.call) for read in reads)
    for (line, call), count in counts.items():
        if line is not None:
            yield line, call, f", {count} times a run" if count > 1 else ""
