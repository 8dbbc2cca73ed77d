"""The table of every metric: model, proving test, value told, value of the truth, and their difference.

`python -m tests.metric_table` runs the truth tests on a network of its own (IMAGING_TEST_SCALE, see `tests.demo_home`) and
prints the table in markdown; with the path of a page it also puts the table there. It fails when a truth test fails, when a metric of the registry is
in none of them, or when one has fewer than 50 cells and no reason is given here.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from tests.compared import COMPARED, Comparison

ROOT = Path(__file__).resolve().parent.parent
MART = ROOT / "dbt_project" / "models" / "marts" / "metrics"
TESTS = sorted((ROOT / "tests" / "end_to_end").glob("test_*truth.py"))
PAGE = ROOT / "docs" / "metric_truth.md"
HEAD = "| Metric | Model | Proving test | Each | Cells | Told | True | Largest difference | Why |"
RULE = "|---|---|---|---|---:|---:|---:|---:|---|"
ENOUGH = 50
# Read beside what a metric counts, and by nearly all of them.
BESIDE = {"int_months", "int_trust_closures", "int_party_trusts"}

MESSAGES = "messages, which alone tell of it, begin on 7 January 2026: two whole months"
IMAGES = "images are harvested from 7 January 2026: three months of eight parties"
AUDIT = "audit messages cover two whole months of eight parties"
ROTA = (
    "the rota of the network is too thin to show any; compared with an invented one of four months, "
    "as dense as a real one"
)
FEW = "few months have the five unscheduled tests of the return that a percentile needs"
# Why a metric has fewer cells than `ENOUGH`.
FEWER = {
    "W05E": FEW,
    "W05EP90": FEW,
    "W09": MESSAGES,
    "W09H": MESSAGES,
    "R07": ROTA,
    "R09": ROTA,
    "R12": ROTA,
    "R13": ROTA,
    "U05": MESSAGES,
    "U10": "the network has no mobile unit; a unit test of the mart counts one",
    "C04": AUDIT,
    "C06": AUDIT,
    "C07": AUDIT,
    "P02": "the survey is asked once a year: eight years",
    "Q05": IMAGES,
    "Q06": IMAGES,
    "Q08": "what landed is compared, in two whole months of live messages",
    "Q09": "what landed is compared, in two whole months of live messages",
    "Q10": IMAGES,
}
# Why both sides may differ, and by how much the test lets them.
DIFFERS = {
    "R01": "times are delivered to the minute",
    "U02": "the clocks of scanners are wrong, by seconds to minutes; the test allows what each was wrong by",
    "U09": "the clocks of scanners are wrong, by seconds to minutes; the test allows what each was wrong by",
    "U11": "the clocks of scanners are wrong, by seconds to minutes; the test allows what each was wrong by",
    "Q08": "events of which only the day is told have no latency; the test allows 2 %",
}


# What else a reader has to know of the values.
NOTES = {
    "Q02": "told are rows, not their share: how often extracts tell of an exam is a fact of the deliveries",
    "R07": "values are those of the invented rota",
    "R09": "values are those of the invented rota",
    "R12": "values are those of the invented rota",
    "R13": "values are those of the invented rota",
}
NOTHING = "no case on a network this small: only the cells are proved, a unit test proves the rule"


def registry() -> dict[str, dict[str, str]]:
    """Every metric of the registry by its id, in its order."""
    read = yaml.safe_load((MART / "rpt_metrics_monthly.yml").read_text("utf-8"))
    metrics = read["models"][0]["config"]["meta"]["metrics"]
    return {metric["metric_id"]: metric for metric in metrics}


def models() -> dict[str, str]:
    """The model that counts each metric: the first that its relation of the mart reads."""
    sql = (MART / "rpt_metrics_monthly.sql").read_text("utf-8")
    head, body = sql.split("} -%}", 1)
    blocks = re.findall(r"^(?:with )?(\w+) as \(\n(.*?)^\)", body, re.MULTILINE | re.DOTALL)
    relations = dict(blocks)

    def counted_by(relation: str) -> str | None:
        text = relations[relation]
        for ref in re.findall(r"ref\('(\w+)'\)", text):
            if ref not in BESIDE and ref.startswith(("int_", "rpt_", "fct_")):
                return ref
        read = re.findall(r"\b(?:from|join) (\w+)|every_month\('(\w+)'", text)
        names = (name for pair in read for name in pair if name in relations)
        return next((model for name in names if (model := counted_by(name))), None)

    found = {"R01": "statistics.turnaround_survival"}
    for relation, lines in re.findall(r"^    '(\w+)': \[\n(.*?)^    \],", head, re.M | re.S):
        model = counted_by(relation)
        found |= {metric: model for metric in re.findall(r"\['(\w+)',", lines) if model}
    return found


def figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.6g}"


def rows(compared: Iterable[Comparison]) -> list[str]:
    """One line of the table per metric of the registry; of several tests the one with most cells."""
    best: dict[str, Comparison] = {}
    for one in compared:
        if one.metric_id not in best or one.cells > best[one.metric_id].cells:
            best[one.metric_id] = one
    lines = []
    for metric_id, metric in registry().items():
        one = best.get(metric_id, Comparison(metric_id, "", "", 0, None, None, None))
        # what floating point leaves is no difference
        apart = 0.0 if one.apart is not None and one.apart < 1e-9 else one.apart
        why = [FEWER.get(metric_id)] if one.cells < ENOUGH else []
        why += [DIFFERS.get(metric_id)] if apart else []
        why += [NOTES[metric_id]] if metric_id in NOTES else []
        is_count = one.cells and not metric.get("is_percentile")
        why += [NOTHING] if is_count and not one.told and not one.true else []
        test = f"`{one.test.removeprefix('tests/end_to_end/')}`" if one.test else "none"
        cells = [
            f"{metric_id} {metric['name']}, {metric['unit']}",
            f"`{models()[metric_id]}`",
            test,
            one.by,
            str(one.cells),
            *(figure(value) for value in (one.told, one.true, apart)),
            "; ".join(reason or "NO REASON GIVEN" for reason in why),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def put_into(page: Path, lines: list[str]) -> None:
    """Replace the lines of the page's table."""
    before, after = page.read_text("utf-8").split(HEAD)
    rest = after.split("\n\n", 1)[1] if "\n\n" in after else ""
    table = "\n".join([HEAD, RULE, *lines])
    page.write_text(f"{before}{table}\n\n{rest}".rstrip("\n") + "\n", "utf-8")


def main(arguments: list[str]) -> int:
    """Run the truth tests, print the table, put it into a page; 0 when it is whole."""
    status = pytest.main([*map(str, TESTS), "-q", "-p", "no:cacheprovider", "-p", "no:xdist"])
    lines = rows(COMPARED)
    sys.stdout.write("\n".join([HEAD, RULE, *lines]) + "\n")
    for page in map(Path, arguments):
        put_into(page, lines)
    return int(status) or int(any("NO REASON GIVEN" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
