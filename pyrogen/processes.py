"""Several processes that work on one pair together: who they are, and what they tell each other.

``torchrun`` starts them and says in the environment how many there are. `joined` makes them a process group of
`torch.distributed` (gloo between CPUs, NCCL between CUDA devices) for as long as it is needed. Where there is one process,
`Processes` does nothing.

Each process holds the whole pair and all data. In a step each takes the gradient of its share of the rows; the weighted
mean of the gradients and of the loss comes back from one all-reduce of one flat buffer, the same to the last bit in every
process, so that the copies of the pair stay equal.

A process that ends before its time closes its connections, which ends every call that waits for it; one that hangs is given
up after `TIMEOUT`. Either is a `ProcessError` in the others.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pyrogen.errors import ConfigurationError, NonFiniteLoss, ProcessError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

__all__ = ["TIMEOUT", "Processes", "joined", "own_device", "stream"]

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others; a validation or a compilation of one of them has to fit in."""

_LAUNCHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

T = TypeVar("T")


def stream(seed: int, rank: int) -> int:
    """The seed of a process's own random numbers; the first process has those of a run of one process.

    Example:
        >>> stream(3, 0), stream(3, 1) == stream(3, 2)
        (3, False)
    """
    return seed if rank == 0 else hash((seed, rank, 1)) % 2**63


class Processes:
    """The processes of a run, as one of them sees them; by default it is the only one.

    Args:
        rank: which one it is.
        size: how many there are; with one, every method does nothing.
        store: where processes leave notes for each other, if the group is our own.

    Example:
        >>> alone = Processes()
        >>> alone.gather("me"), alone.any(False), alone.first
        (['me'], False, True)
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Store | None = None) -> None:
        self.rank, self.size = rank, size
        self._store = store

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, prints and shows progress."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor], weight: float, flag: bool = False) -> tuple[list[Tensor], Tensor]:
        """The weighted sums of tensors, of the same shapes in every process, by one all-reduce; the weights sum to one.

        Returns:
            The sums, which are views of one buffer, and a tensor (), above zero where any process has raised its flag.
        """
        parts = [tensor.detach().reshape(-1) for tensor in tensors]
        flat = torch.cat([*parts, parts[0].new_zeros(1)])  # (all elements + 1,)
        flat.mul_(weight)
        if flag:
            flat[-1] = 1.0
        with self._speaking():
            dist.all_reduce(flat)
        pieces = torch.split(flat, [*(part.numel() for part in parts), 1])
        sums = [piece.view(tensor.shape).to(tensor.dtype) for piece, tensor in zip(pieces, tensors, strict=False)]
        return sums, pieces[-1][0]

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors with those of the first process, in one call for each dtype."""
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            kinds.setdefault(tensor.dtype, []).append(tensor)
        for same in kinds.values():
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in same])
            with self._speaking():
                dist.broadcast(flat, 0)
            with torch.no_grad():
                for tensor, piece in zip(same, torch.split(flat, [t.numel() for t in same]), strict=True):
                    tensor.copy_(piece.view(tensor.shape))

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in the order of their ranks, in every process. They are pickled."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._speaking():
            dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Whether a process says yes."""
        return any(self.gather(bool(flag)))

    def from_first(self, call: Callable[[], T]) -> T:
        """What the first process gets from a call, in every process; an error that it meets is raised in all of them."""
        if self.size == 1:
            return call()
        outcome: list[Any] = [None, None]
        if self.first:
            try:
                outcome[0] = call()
            except Exception as error:
                outcome[1] = error
        with self._speaking():
            dist.broadcast_object_list(outcome, 0)
        if outcome[1] is not None:
            outcome[1]._of_first = True
            raise outcome[1]
        found: T = outcome[0]
        return found

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.gather(None)

    def require_same(self, what: str, value: Any) -> None:
        """Refuse processes that have set out with different things.

        Raises:
            ProcessError: says which process has what.
        """
        values = self.gather(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise ProcessError(
                    f"process {rank} of {self.size} has other {what} than process 0 ({_short(other)}, not "
                    f"{_short(values[0])}): start all of them with the same data, pair and arguments"
                )

    def part(self) -> None:
        """Return when all processes are done with each other: gloo aborts one whose peer closes while it still listens."""
        if self._store is not None:
            with suppress(RuntimeError):  # the store may have gone with the process that kept it
                self._store.set(f"done/{self.rank}", "")
                self._store.wait([f"done/{rank}" for rank in range(self.size)], TIMEOUT)

    def told_by_first(self, error: BaseException) -> bool:
        """Whether an error is one that the first process meets, too, so that this one need not print it."""
        agreed = isinstance(error, NonFiniteLoss | KeyboardInterrupt) or getattr(error, "_of_first", False)
        return not self.first and agreed

    def say(self, error: BaseException) -> None:
        """Leave a note for the others about why this process ends before its time."""
        if self._store is not None and not isinstance(error, ProcessError | SystemExit):
            with suppress(RuntimeError):  # the store may have gone with the process that kept it
                self._store.set(f"ended/{self.rank}", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")

    def lost(self, seen: str) -> ProcessError:
        """The error for what was seen of a process that is gone, with the notes of those that have left one."""
        notes = []
        if self._store is not None:
            with suppress(RuntimeError):
                for rank in range(self.size):
                    if rank != self.rank and self._store.check([f"ended/{rank}"]):
                        notes.append(f"process {rank} has ended with {self._store.get(f'ended/{rank}').decode()}")
        why = "; ".join(notes) or "no process has said why, so one was killed, has crashed or hangs"
        return ProcessError(f"process {self.rank} of {self.size} cannot go on: {seen}; {why}")

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # the errors of torch.distributed, and gloo's own
            raise self.lost(f"the connection to another process has failed ({_short(error)})") from error


_current: Processes | None = None
_groups = itertools.count()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun has started, as a process group; it is torn down afterwards.

    A process group that exists already, the caller's own or that of an enclosing `joined`, is used and left as it is.

    Args:
        device: where the tensors are; see `own_device`.

    Raises:
        ProcessError: the others did not come in time; inside, a process was lost, or this one was told to stop.
    """
    global _current
    if not dist.is_available():
        yield Processes()
        return
    if dist.is_initialized():
        yield _current or Processes(dist.get_rank(), dist.get_world_size())
        return
    rank, size = _launched()
    if size == 1:
        yield Processes()
        return
    from torch.distributed.distributed_c10d import PrefixStore

    try:
        store = PrefixStore(f"pyrogen/{next(_groups)}", _rendezvous())
        cuda = device.type == "cuda"
        if cuda and device.index is not None:
            torch.cuda.set_device(device)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
            device_id=device if cuda and device.index is not None else None,
        )
    except RuntimeError as error:
        raise ProcessError(
            f"process {rank} of {size} has not met the others at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} "
            f"({_short(error)}): start all of them by torchrun, within {TIMEOUT.total_seconds():.0f} s of each other"
        ) from error
    _current = Processes(rank, size, store)
    try:
        with _failing_on_termination(_current):
            yield _current
        _current.part()
    except BaseException as error:
        _current.say(error)
        raise
    finally:
        _current = None
        dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The device of this process: where several share a machine, ``cuda`` is another one for each.

    Raises:
        ConfigurationError: the machine has fewer devices than processes.
    """
    if device.type != "cuda" or device.index is not None or "LOCAL_RANK" not in os.environ or _launched()[1] == 1:
        return device
    local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= count:
        raise ConfigurationError(
            f"process {local} of this machine finds {count} CUDA devices: start at most as many (torchrun --nproc-per-node "
            f"{count}), or choose device 'cpu'"
        )
    return torch.device("cuda", local)


def _launched() -> tuple[int, int]:
    """Rank and number of processes, as torchrun, or what works like it, has put them into the environment."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if not all(name in os.environ for name in _LAUNCHER):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


@cache
def _rendezvous() -> Store:
    """The store that all groups of this process share, each with names of its own."""
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=TIMEOUT))
    return store  # type: ignore[no-any-return]


@contextmanager
def _failing_on_termination(processes: Processes) -> Iterator[None]:
    """Turn SIGTERM, which torchrun sends when another process has failed, into a named error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        raise processes.lost("it was told to stop (SIGTERM), as torchrun does when another process has failed")

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _short(value: object) -> str:
    """The first line of a text, without the line of C++ that gloo puts in front and the advice that it puts behind."""
    text = re.sub(r"^\[\S+:\d+\] ", "", str(value).strip().partition("\n")[0]).partition(". This is typically")[0]
    return text if len(text) <= 150 else f"{text[:150]}..."
