"""The worked statements against the real broker: gate on, and gate bypassed."""

from pathlib import Path

import pytest

from dashboards.sqllab import broker, gate
from tests.dashboards.sqllab.conftest import LEAK, OF_THE_FILE, cases, told

CASES = cases()
BLOCKED = [case for case in CASES if case["must_be_blocked"]]
HARMLESS = [case for case in CASES if not case["must_be_blocked"]]
# What a locked engine lets through: state of a connection that ends with the query, and what else
# is in the same file. The gate refuses it; the file and the process see to it that it does not harm.
GATE_ALONE = ("USE ", "CREATE TEMP", "SET search_path")
LIMITS = {"seconds": 0.4, "memory_mb": 256}


def named(case: dict) -> str:
    return f"{case['category']}-{CASES.index(case)}"


def files(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_written(lab):
    """No statement of this module may leave, change or delete a file."""
    before = files(lab)
    yield
    assert files(lab) == before


@pytest.fixture(autouse=True)
def secret_in_the_environment(monkeypatch):
    monkeypatch.setenv("SECRET_ENV", "LEAK-ENV")


@pytest.mark.parametrize("case", BLOCKED, ids=named)
def test_an_attack_is_refused_by_the_broker(case, lab, ask):
    """Failing means that what a reader types reaches other data, files or the service."""
    secret_df = {"x": ["LEAK-DF"]}  # a variable that a scan of Python's frames would find
    answer = ask(case["sql"].replace("{DIR}", str(lab)), **LIMITS)
    assert LEAK not in told(answer) and secret_df
    if case["category"] == "dos":
        assert isinstance(answer, broker.QueryStopped) or (
            isinstance(answer, broker.QueryResult) and answer.truncated
        )
    else:
        assert isinstance(answer, broker.QueryRefused)
        assert str(lab) not in answer.reason or str(lab) in case["sql"].replace("{DIR}", str(lab))


@pytest.mark.parametrize("case", BLOCKED, ids=named)
def test_an_attack_past_the_gate_is_held_by_engine_and_process(case, lab, ask_ungated):
    """Failing means that a hole in the gate would be a hole in the product."""
    answer = ask_ungated(case["sql"].replace("{DIR}", str(lab)), **LIMITS)
    assert LEAK not in told(answer).replace(OF_THE_FILE, "")
    if case["category"] not in ("info", "dos") and not case["sql"].startswith(GATE_ALONE):
        assert isinstance(answer, broker.QueryRefused)


@pytest.mark.parametrize("case", HARMLESS, ids=named)
def test_what_analysts_write_runs(case, ask):
    """Failing means that an ordinary question is turned away."""
    answer = ask(case["sql"])
    assert isinstance(answer, broker.QueryResult), answer
    assert answer.frame.height >= 1 and not answer.truncated


@pytest.mark.parametrize("case", [case for case in CASES if case["category"] != "dos"], ids=named)
def test_the_gate_by_itself_says_the_same(case, lab):
    """Failing means that a page which asks the gate first promises what the broker does not keep."""
    verdict = gate.check(case["sql"].replace("{DIR}", str(lab)), schemas=("mart",))
    assert verdict.allowed is not case["must_be_blocked"], verdict.reason
    assert bool(verdict.reason) is case["must_be_blocked"]
