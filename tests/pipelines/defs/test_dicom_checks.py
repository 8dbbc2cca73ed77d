"""Checks of the readers of headers as Dagster runs them: one blocks, the other warns."""

from types import SimpleNamespace

import dagster as dg
import pytest

from pipelines.defs.harvest import dicom_checks
from pipelines.gate import GateFailure


def pipeline(failures: list[GateFailure]) -> SimpleNamespace:
    return SimpleNamespace(
        standing_failures=lambda _checks: {"dicom_readers": failures},
        record=lambda *_: None,
        settings=SimpleNamespace(harvest_pydicom_limit=0.05),
        landing=None,
    )


@pytest.mark.parametrize("count", [0, 1])
def test_a_difference_to_pydicom_fails_the_check_that_blocks(count: int):
    """Failing means that values of a wrong reader are published."""
    failure = GateFailure("c", "pydicom_reads_the_same", "RMC", 1, "q", "RMC: StationName")
    check = dicom_checks.reads_the_same.op.compute_fn.decorated_fn
    context = SimpleNamespace(run=SimpleNamespace(run_id="run"))
    found = check(context, pipeline([failure] * count))
    assert found.passed is (count == 0)
    (spec,) = dicom_checks.reads_the_same.check_specs
    assert spec.blocking


@pytest.mark.parametrize(
    ("counts", "passed"),
    [
        ({}, True),
        ({"first_window": 96, "pydicom": 4}, True),
        ({"first_window": 90, "scanner": 4, "pydicom": 6}, False),
        # Of a handful of files no share is told.
        ({"pydicom": 6}, True),
    ],
)
def test_too_many_headers_for_pydicom_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], passed: bool
):
    """Failing means that nobody learns that an archive is read at the speed of pydicom."""
    monkeypatch.setattr(dicom_checks, "reader_counts", lambda _: counts)
    found = dicom_checks.few_need_pydicom.op.compute_fn.decorated_fn(pipeline([]))
    assert found.passed is passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    (spec,) = dicom_checks.few_need_pydicom.check_specs
    assert not spec.blocking
