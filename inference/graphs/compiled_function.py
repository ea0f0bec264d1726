"""A function of a pair, called through recorded graphs: one for each shape of its inputs, checked now and then.

Nothing here knows of training: the loss and its gradient, the log weights of a chunk, a transition of a Markov chain are all
functions that take a pair and tensors and return named tensors.
"""

from __future__ import annotations

import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError, DataError, GraphMismatch, NotTraceable
from pyrogen.pair import Pair
from pyrogen.randomness import forked

from .backend import Backend, Executable, build, copied
from .cuda_graph import CudaGraph, capturable
from .tracing import Function, Graph, PureProgram, record

__all__ = ["SITE", "WRITTEN", "Compile", "CompileReport", "CompiledFunction", "require_compile"]

Compile: TypeAlias = Literal[True, False, "auto", "graph"]
"""True compiles; ``"graph"`` runs the recorded graph without a compiler; ``"auto"`` takes what pays, and falls back to the
pair itself with a warning where neither can be; False runs the pair itself."""

SITE = "site."
"""Prefix of outputs that are computed only to find out where a graph and its pair part."""

WRITTEN = "written."
"""Prefix under which a check shows the inputs that a run has written to, by their numbers."""

_GRAPHS = 8  # of different shapes, kept at a time
_ATTEMPTS = 2
_CAPTURE_AFTER = 3  # calls of a shape, by which its kernels are warm
_CAPTURES = 3  # of a shape, whose tensors may have been replaced since
_COMPILE_SECONDS = 20.0
_EXPECTED_SAVING = 0.5  # of an eager call's time


def require_compile(compile: Any) -> Compile:
    """Refuse what is no way to compile.

    Raises:
        ConfigurationError: it is none of those that there are.
    """
    if not isinstance(compile, bool) and compile not in ("auto", "graph"):
        raise ConfigurationError(f"unknown compile={compile!r}: use True, False, 'auto' or 'graph'")
    return compile  # type: ignore[no-any-return]


@dataclass
class CompileReport:
    """What was recorded and compiled, and what that cost."""

    graphs: int = 0
    """Graphs recorded: one for each shape."""
    compilations: int = 0
    operations: int = 0
    """Tensor operations of the first graph."""
    products: int = 0
    """Matrix products of the first graph that go to oneDNN."""
    checks: int = 0
    """Calls at which the graph was compared with the pair's own run."""
    trace_seconds: float = 0.0
    compile_seconds: float = 0.0
    cuda_graphs: int = 0
    """Graphs whose kernels a GPU is given all at once."""
    backend: str = "eager"
    """The fastest of what ran: ``"eager"``, ``"graph"`` or ``"inductor"``."""
    uncompiled: str | None = None
    """Why graphs run without a compiler, where ``compile="auto"`` found that compiling would pay and it failed."""
    fallback: str | None = None
    """Why the pair itself is run, where ``compile="auto"`` could do nothing better."""
    modes: dict[str, str] = field(default_factory=dict)
    """What runs each shape of the inputs."""


@dataclass
class _Entry:
    """A graph of one shape, and when it is checked next."""

    program: PureProgram
    graph: Graph
    executable: Executable
    tensors: list[Tensor]
    compile_at: int | None
    """The call at which it is compiled, or None."""
    calls: int = 0
    next_check: int = 0
    launch: CudaGraph | None = None
    """The executable's kernels on the entry's own tensors, all at once."""
    captures: int = 0


class CompiledFunction:
    """A function of a pair and tensors, by recorded graphs.

    Args:
        pair: the pair; it has to stay on its device.
        function: what is computed: ``function(pair, *inputs)`` returns named tensors.
        compile: see `Compile`; not False.
        report: where to write down what was done; several functions may share one.
        differs: says what differs between two sets of outputs, or None.
        sites: says at which site two sets of outputs part, or None.
        calls: how many calls are to come, by which ``"auto"`` decides whether compiling pays.
        compile_after: calls of a shape, of the first one and of each further one, that run the graph without a compiler
            before the shape is worth compiling.
        networks: further networks that the function uses.

    Raises:
        NotTraceable: at a call: the pair's run cannot be recorded.
        GraphMismatch: at a call: the graph does not compute what the pair computes.
        CompilerMissing: at a call: there is no C++ compiler.
        DataError: at a call: inputs of other dtypes or of another device than at the first.
    """

    def __init__(
        self,
        pair: Pair,
        function: Function,
        compile: Compile,
        report: CompileReport,
        *,
        differs: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], str | None],
        sites: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], str | None] | None = None,
        calls: int | None = None,
        compile_after: tuple[int, int] = (0, 200),
        networks: nn.Module | None = None,
    ) -> None:
        self.pair, self.function, self.report, self.networks = pair, function, report, networks
        self.compile: Compile = require_compile(compile)
        self._differs, self._sites, self._expected = differs, sites, calls
        self._compile_after = compile_after
        self._entries: OrderedDict[Any, _Entry] = OrderedDict()
        self._kinds: tuple[Any, ...] | None = None
        self._parts = self._modules()

    def __call__(
        self,
        inputs: Sequence[Tensor],
        carried: Sequence[Tensor] = (),
        *,
        before_recording: Callable[[], object] | None = None,
    ) -> tuple[Sequence[str], Sequence[Tensor]]:
        """The names and values of the outputs.

        Buffers of the pair are updated, and random numbers drawn, as the pair itself would.

        Args:
            inputs: the tensors, of the dtypes and device of the first call's.
            carried: further inputs, whose shapes and dtypes never change and which the function may write to.
            before_recording: called before a further graph is recorded: what reads values cannot be done while it is.
        """
        kinds = tuple((tensor.dtype, tensor.device) for tensor in inputs)
        if self._kinds is None:
            self._kinds = kinds
        elif kinds != self._kinds:
            raise DataError(
                f"a batch holds {_names(kinds)} where the first one held {_names(self._kinds)}, for which the graph was "
                "recorded: give every batch the same dtypes and device"
            )
        leading, inputs = inputs, [*inputs, *carried] if carried else inputs
        if self.report.fallback is not None:
            return self._eagerly(inputs)
        key = (
            *(t.shape if t.is_contiguous() else (t.shape, t.stride()) for t in leading),
            *(part.training for part in self._parts),
        )
        entry = self._entries.get(key)
        try:
            if entry is None:
                if before_recording is not None:
                    before_recording()
                entry = self._new(key, inputs)
            elif entry.calls == entry.compile_at and entry.executable.backend == "graph":
                self._compile(entry, inputs)
            self._entries.move_to_end(key)
        except NotTraceable as error:
            if self.compile != "auto":
                raise
            return self._fall_back(str(error), inputs)
        self._capture(entry, inputs, len(leading))
        if entry.calls >= entry.next_check:
            wrong = self._check(entry, inputs)
            if wrong is not None:
                if self.compile != "auto":
                    raise GraphMismatch(wrong)
                return self._fall_back(wrong, inputs)
            entry.next_check = 2 * entry.calls if entry.calls else 1
        entry.calls += 1
        executable = entry.executable
        with torch.no_grad():
            values = (entry.launch or executable.call)(*entry.tensors, *executable.constants, *inputs)
        if executable.replaces_buffers:
            self._write_buffers(executable.outputs, values)
        return executable.outputs, values

    def graphs(self) -> list[Graph]:
        """The graphs that are kept, without what only a check computes."""
        return [entry.graph.without(SITE) for entry in self._entries.values()]

    def forget(self) -> None:
        """The pair's tensors were replaced: look them up again, and check at the next call."""
        self._parts = self._modules()
        for entry in self._entries.values():
            entry.tensors, entry.next_check = entry.program.tensors(), entry.calls

    def _new(self, key: Any, inputs: Sequence[Tensor]) -> _Entry:
        """Record the graph of a further shape, and compile it if that pays."""
        started = time.perf_counter()
        program = PureProgram(self.pair, self.function, self.networks)
        eager = self._time_eager_run(program, inputs) if self.compile == "auto" else 0.0
        # Other rows than those of the call: a value that Python has taken from the data then shows at once.
        rows = inputs[0].shape[:1]
        other = [t.flip(0) if t.dim() and t.shape[:1] == rows else t for t in inputs]
        graph = record(program, other)
        self.report.trace_seconds += time.perf_counter() - started
        self.report.graphs += 1
        first = not self._entries
        pays = (self._expected or 0) * eager * _EXPECTED_SAVING > _COMPILE_SECONDS
        wanted = self.compile is True or (self.compile == "auto" and pays and self.report.uncompiled is None)
        after = self._compile_after[0 if first else 1]
        backend: Backend = "inductor" if wanted and after == 0 else "graph"
        tensors = program.tensors()
        executable = self._build(graph, [*tensors, *graph.constants, *inputs], backend)
        if first:
            self.report.operations, self.report.products = executable.operations, executable.products
        self._entries[key] = _Entry(program, graph, executable, tensors, after if wanted else None)
        while len(self._entries) > _GRAPHS:
            self._entries.popitem(last=False)
        return self._entries[key]

    def _time_eager_run(self, program: PureProgram, inputs: Sequence[Tensor]) -> float:
        seconds = []
        with forked(inputs[0].device):
            for _ in range(2):  # the first one warms up
                started = time.perf_counter()
                program([tensor.detach().clone() for tensor in program.tensors()], [value.clone() for value in inputs])
                seconds.append(time.perf_counter() - started)
        return seconds[-1]

    def _capture(self, entry: _Entry, inputs: Sequence[Tensor], leading: int) -> None:
        """On a GPU, make a CUDA graph of a shape that has come some times; the next check is of what it computes."""
        tensors = [*entry.tensors, *entry.executable.constants, *inputs]
        if entry.launch is not None and not entry.launch.holds(tensors):
            entry.launch = None
        due = entry.launch is None and entry.calls >= _CAPTURE_AFTER and entry.captures < _CAPTURES
        if not due or not capturable(tensors):
            return
        first = len(tensors) - len(inputs)
        try:
            entry.launch = CudaGraph(entry.executable.call, tensors, range(first, first + leading))
        except RuntimeError:  # it runs all the same, kernel by kernel
            entry.captures = _CAPTURES
        else:
            entry.captures, entry.next_check = entry.captures + 1, entry.calls
            self.report.cuda_graphs += entry.captures == 1

    def _compile(self, entry: _Entry, inputs: Sequence[Tensor]) -> None:
        entry.executable = self._build(entry.graph, [*entry.tensors, *entry.graph.constants, *inputs], "inductor")
        entry.next_check, entry.launch = entry.calls, None

    def _build(self, graph: Graph, example: Sequence[Tensor], backend: Backend) -> Executable:
        try:
            executable = build(graph.without(SITE), example, backend)
        except Exception as error:
            if self.compile != "auto" or backend == "graph":
                raise
            warnings.warn(f"compile='auto' runs the recorded graph without compiling it: {error}", stacklevel=6)
            self.report.uncompiled = str(error)
            return self._build(graph, example, "graph")
        if backend == "inductor":
            self.report.compilations += 1
            self.report.compile_seconds += executable.seconds
        if self.report.backend != "inductor":
            self.report.backend = executable.backend
        inputs = example[len(example) - graph.inputs :]
        self.report.modes[" ".join("x".join(map(str, t.shape)) or "()" for t in inputs)] = executable.backend
        return executable

    def _check(self, entry: _Entry, inputs: Sequence[Tensor]) -> str | None:
        """Compare graph and pair on copies of the state, with the same random numbers; what differs, in words."""
        self.report.checks += 1
        entry.tensors = entry.program.tensors()
        if inputs[0].is_meta:  # no values to compare
            return None
        wrong = None
        for attempt in range(_ATTEMPTS):  # a draw that a rounding error has tipped over does not happen twice
            theirs = self._on_copies(entry, entry.program, inputs, attempt)
            found = self._differs(self._on_copies(entry, entry.launch or entry.executable, inputs, attempt), theirs)
            if found is None:
                return None
            if entry.launch is not None:
                entry.launch, entry.captures = None, _CAPTURES
                self.report.cuda_graphs -= 1
                return self._check(entry, inputs)
            again = self._on_copies(entry, entry.program, inputs, attempt)
            if self._sites is not None:
                recorded = Executable(entry.graph, entry.graph.outputs, entry.graph.constants, "graph")
                found = self._sites(self._on_copies(entry, recorded, inputs, attempt), theirs) or found
            wrong = f"{found}, at call {entry.calls} of this shape"
            if self._differs(again, theirs) is not None:  # of one draw the pair itself makes this and that
                break
        return (
            f"the recorded graph does not compute what the pair computes: {wrong}. Something that Python decides changes "
            "from run to run (a step counter, a float that is annealed, random numbers from outside torch, a value taken "
            "from a tensor): keep it in a buffer or pass it with the batch as a tensor, pass KL warm-up as fit(beta=...), "
            "or use compile=False"
        )

    def _on_copies(
        self, entry: _Entry, what: PureProgram | Executable | CudaGraph, inputs: Sequence[Tensor], seed: int
    ) -> dict[str, Tensor]:
        """What a program or its executable computes, with the state left as it is, and the buffers that it has written."""
        copies = [copied(tensor) for tensor in entry.tensors]
        given = [copied(value) for value in inputs]
        with forked(inputs[0].device):
            if seed:
                torch.manual_seed(seed)
            if isinstance(what, PureProgram):
                outputs = what(copies, given)
            elif isinstance(what, Executable):
                with torch.no_grad():
                    values = what.call(*copies, *what.constants, *given)
                outputs = {name: value.clone() for name, value in zip(what.outputs, values, strict=True)}
            else:
                outputs = self._launched(entry, what, inputs, [*copies, *given])
        names = [*entry.program.parameters, *entry.program.buffers]
        for name, before, after in zip(names, entry.tensors, copies, strict=True):
            if name in entry.program.buffers or not torch.equal(before, after):
                outputs.setdefault(f"buffer.{name}", after)
        for number, (before, after) in enumerate(zip(inputs, given, strict=True)):
            if not torch.equal(before, after):
                outputs[f"{WRITTEN}{number}"] = after
        return outputs

    @staticmethod
    @torch.no_grad()
    def _launched(entry: _Entry, launch: CudaGraph, inputs: Sequence[Tensor], copies: Sequence[Tensor]) -> dict[str, Tensor]:
        """What a CUDA graph computes on the state itself, which is put back; the copies get what it became."""
        values = launch(*entry.tensors, *entry.executable.constants, *inputs)
        for own, copy in zip([*entry.tensors, *inputs], copies, strict=True):
            if own.data_ptr() != copy.data_ptr():
                became = own.clone()
                own.copy_(copy)
                copy.copy_(became)
        return dict(zip(entry.executable.outputs, values, strict=True))

    def _fall_back(self, reason: str, inputs: Sequence[Tensor]) -> tuple[Sequence[str], Sequence[Tensor]]:
        warnings.warn(f"compile='auto' runs the pair itself: {reason}", stacklevel=4)
        self.report.fallback, self.report.backend = reason, "eager"
        self._entries.clear()
        return self._eagerly(inputs)

    def _eagerly(self, inputs: Sequence[Tensor]) -> tuple[Sequence[str], Sequence[Tensor]]:
        outputs = PureProgram(self.pair, self.function, self.networks).by_pair(inputs)
        return list(outputs), list(outputs.values())

    def _write_buffers(self, names: Sequence[str], values: Sequence[Tensor]) -> None:
        for name, value in zip(names, values, strict=True):
            if name.startswith("buffer."):
                name = name.removeprefix("buffer.")
                inner = name.removeprefix("networks.")
                owner = self.pair if inner == name or self.networks is None else self.networks
                owner.get_buffer(inner).copy_(value)

    def _modules(self) -> list[nn.Module]:
        return [*self.pair.modules(), *(() if self.networks is None else self.networks.modules())]


def _names(kinds: Sequence[tuple[torch.dtype, torch.device]]) -> str:
    return ", ".join(f"{str(dtype).removeprefix('torch.')} on {device}" for dtype, device in kinds)
