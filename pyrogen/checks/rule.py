"""What a rule is: a fault that a pair can have, how to find it, and an example with and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from pyrogen.programs.faults import Fault, Severity

from .examples import RIGHT
from .findings import Finding
from .subject import Subject

__all__ = ["GROUPS", "Rule", "Seen", "rule"]

GROUPS = {
    "structure": "Structure: do the sites and plates of model, guide and batch fit",
    "support": "Support: do the values lie where the distributions have density",
    "vectorisation": "Vectorisation: do many data and many particles stay apart",
    "numbers": "Numbers: are log densities and gradients finite and of one precision",
    "randomness": "Randomness: do draws come from sites alone",
    "devices": "Devices: would the pair run on a GPU, and without waiting",
    "quality": "Quality of the guide, after training",
}
"""The groups of rules with their headings; the first digit of a code counts them, from 1."""


@dataclass(frozen=True)
class Seen:
    """One place where a rule finds its fault."""

    words: str
    """What was seen, with its numbers."""
    site: str | None = None
    """Name of the sample site."""
    shape: tuple[int, ...] | None = None
    """Shape of what was seen; that of the site if only a site is given."""
    line: str | None = None
    """Place in the user's code; that of the site if only a site is given."""
    severity: Severity | None = None
    """Another severity than the fault's."""
    remedy: str | None = None
    """Another remedy than the fault's."""


Detector: TypeAlias = Callable[[Subject], Iterator[Seen]]


@dataclass(eq=False)
class Rule:
    """One fault that a pair can have, and how to find it.

    What `Pair.structure` says under the fault's code becomes a finding by itself, so that many rules are a row of a table
    (``rules/from_structure.py``). To add any other, write a generator that takes a `Subject` and yields `Seen`, under the
    decorator `rule`, in the file of its group in ``rules/``. It runs with all random number generators seeded, and the
    pair's parameters, buffers and modes are put back afterwards; it may draw, differentiate and step, inside
    ``subject.running()``. Return early where the rule does not apply. A rule that raises is reported as not run.

    Attributes:
        fault: the code of the fault and its words.
        bad: Python source that defines ``pair`` and ``batch`` with the fault; the catalogue shows it, the tests run it.
        fixed: the same without the fault.
        cheap: whether `fit` and `compare` run the rule first: it costs no run of the pair beside those that every use makes.
        trained: whether the rule looks at fitted pairs only.
        density: whether the rule asks what moves the log density of the data, of which a sampler has none.
        detector: finds what `Pair.structure` does not, if there is anything.
    """

    fault: Fault
    bad: str
    fixed: str = RIGHT
    cheap: bool = False
    trained: bool = False
    density: bool = False
    detector: Detector | None = None

    @property
    def code(self) -> str:
        """The fault's code."""
        return self.fault.code

    @property
    def group(self) -> str:
        """The group that the code belongs to, one of `GROUPS`."""
        return list(GROUPS)[int(self.code[2]) - 1]

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Yield what the rule finds beyond what `Pair.structure` says."""
        for seen in self.detector(subject) if self.detector is not None else ():
            yield self.finding(seen, subject)

    def finding(self, seen: Seen, subject: Subject) -> Finding:
        """The finding for a place where the fault is seen."""
        remedy = seen.remedy or self.fault.advice(site=seen.site, plate=subject.pair.data_plate)
        severity = seen.severity or self.fault.severity
        return Finding(self.code, severity, seen.words, remedy, seen.site, seen.shape, seen.line)


def rule(
    fault: Fault, *, bad: str, fixed: str = RIGHT, cheap: bool = False, trained: bool = False, density: bool = False
) -> Callable[[Detector], Rule]:
    """Make a rule of a detector; see `Rule` for the arguments."""
    return lambda detector: Rule(fault, bad, fixed, cheap, trained, density, detector)
