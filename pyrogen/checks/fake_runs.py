"""Runs of a pair on tensors without values: on torch's ``meta`` device, and on fake tensors on ``cuda:0``.

Torch's own device rules judge them. The pair's parameters and buffers are replaced during the run
(`pyrogen.programs.functional.holding`), so that it is neither copied nor changed.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from pyrogen.batch import map_tensors
from pyrogen.programs.source_lines import line_of_error

from .log_weight import log_weight_of, state_of
from .simulated_step import adam_step, few_rows, without_validation
from .subject import Subject, memoize
from .watchers.no_gradients import NoGradients

__all__ = ["Verdict", "on_fake_cuda", "on_meta"]

_MIXED = re.compile("on the same device|two different devices|FakeTensor Device Propagation|but expected device|not on the")
_READ = re.compile(
    r"_local_scalar_dense|Tensor\.item\(\) cannot be called|data-dependent|DataDependentOutput"
    "|Cannot copy out of meta tensor|nonzero"
)


class Verdict:
    """How a run without values ended.

    Attributes:
        error: what was raised, or None.
        line: the line of the user's code that led to it.
        mixed: whether torch says that tensors are on different devices.
        read: whether the run stopped because it needs the value of a tensor.
    """

    def __init__(self, error: Exception | None) -> None:
        message = "" if error is None else f"{type(error).__name__}: {error}"
        self.error = message.splitlines()[0] if message else None
        self.line = None if error is None else line_of_error(error)
        self.mixed = _MIXED.search(message) is not None
        self.read = _READ.search(message) is not None


@memoize
def on_meta(subject: Subject) -> Verdict:
    """Run guide and model, the gradient and one step of Adam on the meta device."""

    def work() -> None:
        state: dict[str, Tensor] = {name: tensor.detach().to("meta") for name, tensor in state_of(subject.pair).items()}
        parameters = []
        for name, trained in subject.pair.named_parameters():
            state[name].requires_grad_(trained.requires_grad)
            parameters += [state[name]] if trained.requires_grad else []
        batch = map_tensors(few_rows(subject), lambda tensor: tensor.to("meta"))
        log_weight = log_weight_of(subject, state, batch, gradients=True)
        if log_weight.requires_grad and parameters:
            adam_step(parameters, log_weight)

    return _verdict(work)


@memoize
def on_fake_cuda(subject: Subject) -> Verdict:
    """Run guide and model with fake tensors on ``cuda:0``.

    Without a CUDA build of torch some calls, such as indexing, fail on such tensors: an error that is neither
    `Verdict.mixed` nor `Verdict.read` says nothing about the pair. A program that differentiates within itself is run up to
    there: recording gradients ends the whole process without such a build.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # slow to load

    def work() -> None:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), NoGradients():
            state = {name: _on_cuda(tensor) for name, tensor in state_of(subject.pair).items()}
            log_weight_of(subject, state, map_tensors(rows, _on_cuda), gradients=False)

    rows = few_rows(subject)
    return _verdict(work)


def _on_cuda(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda:0")


def _verdict(work: Any) -> Verdict:
    try:
        with without_validation():
            work()
    except Exception as error:  # whatever the program or torch raises
        return Verdict(error)
    return Verdict(None)
