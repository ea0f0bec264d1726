"""Every study's result is saved and read by one rule, and what is damaged is named."""

from __future__ import annotations

import pytest
import torch

from pyrogen.errors import ConfigurationError, DataError
from pyrogen.inference import Calibration, Comparison, Estimate, Gaps, JointEvidence, Posteriors, Sandwich
from pyrogen.inference.studies.saved_result import SavedResult, named, plain, restored

RESULTS = [Calibration, Comparison, Gaps, JointEvidence, Posteriors, Sandwich]


def test_all_results_are_here():
    assert set(RESULTS) == set(SavedResult.__subclasses__())
    assert len({kind.file for kind in RESULTS}) == len(RESULTS)


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', '{"version": 1}', None])
def test_what_is_missing_or_damaged_is_named(tmp_path, kind, text):
    if text is not None:
        (tmp_path / kind.file).write_text(text)
    with pytest.raises(DataError, match=kind.file.partition(".")[0]):
        kind.load(tmp_path)


def test_fields_come_back_with_their_types():
    columns = [torch.tensor([-1.5, float("nan")]).double() for _ in range(4)]
    whole = Estimate(
        *("IS", "consistent", *columns[:2], 10, 0.5, 5, *columns[2:]),
        diagnostics={"rhat": columns[0]},
        notes=("so",),
        freedom=3,
        flagged=torch.tensor([True, False]),
    )
    again = restored(Estimate, plain(whole))
    assert again.khat.dtype == torch.float64
    assert again.flagged.dtype == torch.bool
    assert again.diagnostics["rhat"].tolist()[0] == -1.5
    assert (again.notes, again.curve, again.freedom) == (("so",), None, 3)
    assert str(plain(again)) == str(plain(whole))
    bare = {key: value for key, value in plain(whole).items() if key in ("name", "kind", "log_prob", "standard_error")}
    assert restored(Estimate, {**bare, "evaluations": 1, "seconds": 1.0, "unknown": 0}).notes == ()
    with pytest.raises(KeyError, match="evaluations"):
        restored(Estimate, bare)


def test_a_part_is_found_by_its_name():
    parts = [Estimate(name, "lower", torch.zeros(1), torch.zeros(1), 1, 1.0) for name in ("a", "b")]
    assert named(parts, "b", "estimate") is parts[1]
    with pytest.raises(ConfigurationError, match=r"no estimate is called 'c'; there are \['a', 'b'\]"):
        named(parts, "c", "estimate")
