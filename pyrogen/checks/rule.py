"""What a rule is: one fault that a pair can have, how to see it, why it matters and what to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from .finding import Finding, Group, Severity

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["Rule"]


class Rule(ABC):
    """One fault that a pair can have.

    To add one: a file in ``rules/`` with a subclass that fills in all that stands below and yields a finding for each place
    where it sees its fault, and an entry in ``rules/__init__.py``. `look` runs with all generators seeded and with the
    pair's parameters, buffers and modes put back afterwards; it may draw, differentiate and step, inside
    ``subject.running()``. What `Pair.structure` says under the rule's code becomes a finding without its help.
    Return early where the rule does not apply. A rule that raises is reported as one that could not run.
    """

    code: ClassVar[str]
    """``PG`` and three digits, of which the first is the group's."""
    title: ClassVar[str]
    """The fault, as a short sentence without a full stop."""
    group: ClassVar[Group]
    severity: ClassVar[Severity]
    why: ClassVar[str]
    """What goes wrong if the pair is left as it is."""
    remedy: ClassVar[str]
    """What to do, as an imperative."""
    cheap: ClassVar[bool] = False
    """Whether `fit` and `compare` look first: it costs no run of the pair beside those that every use makes."""
    always: ClassVar[bool] = False
    """Whether the rule looks even at a pair that `Pair.structure` refuses."""
    trained: ClassVar[bool] = False
    """Whether the rule looks at fitted pairs only."""
    bad: ClassVar[str]
    """Python source that defines ``pair`` and ``batch`` with the fault; the catalogue shows it, the tests run it."""
    mended: ClassVar[str]
    """The same without the fault."""

    @abstractmethod
    def look(self, subject: Subject) -> Iterator[Finding]:
        """Yield what there is to say about a pair; see `Rule`."""

    def found(
        self,
        seen: str,
        *,
        site: str | None = None,
        shape: tuple[int, ...] | None = None,
        line: str | None = None,
        severity: Severity | None = None,
        remedy: str | None = None,
    ) -> Finding:
        """A finding of this rule.

        Args:
            seen: what was seen, with its numbers.
            site: name of the sample site.
            shape: shape of what was seen.
            line: place in the user's code; that of the site if only a site is given (the runner fills it in).
            severity: another than the rule's.
            remedy: another than the rule's.
        """
        return Finding(self.code, severity or self.severity, seen, remedy or self.remedy, site, shape, line)
