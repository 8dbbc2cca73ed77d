"""`imaging query archive` and `imaging receive dicom`: what an operator is told, and asked for."""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.settings import Settings
from pipelines.sources.dicom_archives import Answered, Archive, summary

TWO = """
[archives.central]
party = "RMC"
route = "changes"
url = "http://127.0.0.1:1"
[archives.router]
party = "RMC"
route = "changes"
url = "http://127.0.0.1:1"
"""


def imaging(home: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    given = {"IMAGING_HOME": str(home), "COLUMNS": "300"} | environment
    done = CliRunner().invoke(app, list(arguments), env=given)
    # main() prints a problem and ends with code 2.
    return done.exit_code, " ".join((done.output + str(done.exception or "")).split())


def test_a_named_archive_that_is_not_there_is_a_problem(tmp_path):
    """Failing means that a misspelt name in cron looks like a quiet archive for months."""
    file = tmp_path / "archives.toml"
    code, said = imaging(tmp_path, "query", "archive", "central")
    assert code != 0
    assert f"there is no archive central: {file} does not exist; create it with a table" in said
    file.write_text("")
    code, said = imaging(tmp_path, "query", "archive", "central")
    assert code != 0 and "has no table [archives.NAME]; add one" in said
    file.write_text(TWO)
    code, said = imaging(tmp_path, "query", "archive", "centrale")
    assert code != 0
    assert "do you mean central?; there are: central, router" in said


def test_without_any_archive_a_nightly_line_goes_on(tmp_path):
    """Failing means that `imaging query archive && imaging run` never runs without an archive."""
    code, said = imaging(tmp_path, "query", "archive")
    assert code == 0 and said.startswith("nothing to ask: ")
    wrong = str(tmp_path / "gone.toml")
    code, said = imaging(tmp_path, "query", "archive", IMAGING_ARCHIVES=wrong)
    assert code != 0 and f"IMAGING_ARCHIVES names {wrong}, which does not exist" in said


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("query archive", ["--from", "--to", "needs --to", "Default: what is due", "quiet_hours"]),
        ("receive dicom", ["--port", "--host", "11112", "127.0.0.1", "dicom_callers.toml"]),
    ],
)
def test_help_tells_every_option_with_its_default(tmp_path, verb, told):
    """Failing means that an operator has to read the source; defaults must be the real ones."""
    code, said = imaging(tmp_path, *verb.split(), "--help")
    assert code == 0
    assert [words for words in told if words not in said] == []
    assert Settings.model_fields["receive_dicom_port"].default == 11112
    assert Settings.model_fields["receive_dicom_host"].default == "127.0.0.1"


ANSWERED = Answered(
    "central",
    asked="study dates 2026-01-05 to 2026-01-06 (--from, --to), 2 windows of 1 day",
    cursor="left as it was: nothing is asked for yet",
    studies=1_200,
    series=3_000,
    seconds=4.0,
    deliveries=[Path("one.csv"), Path("two.csv")],
    requests=8,
)
CENTRAL = Archive(
    name="central",
    party="RMC",
    route="qido",
    url="https://archive.example/dicom-web?key=hidden",
    start_on=date(2026, 1, 1),
    quiet_hours=["12:00-13:00", "19:00-07:00"],
)


def test_a_summary_tells_what_was_asked_found_and_is_next():
    """Failing means that an operator cannot say what a query did to the archive."""
    lines = summary(ANSWERED, CENTRAL, datetime(2026, 1, 7, 8, 30), 17)
    assert lines == [
        "central (archive.example:443)",
        "  asked         qido, study dates 2026-01-05 to 2026-01-06 (--from, --to), 2 windows of 1 "
        "day",
        "  found         3,000 series of 1,200 studies; 17 of them have not landed yet",
        "  delivered     2 files in the inbox; `imaging harvest dicom_series`, or a run, lands them",
        "  burden        8 requests in 4.0 s, 1.8 a second (at most 10)",
        "  cursor        left as it was: nothing is asked for yet",
        "  may be asked  12:00-13:00, 19:00-07:00, so next today from 12:00; scheduled runs ask "
        "every 24 h",
    ]
    nothing = replace(ANSWERED, series=0, studies=0, deliveries=[], requests=0, asked="")
    night = CENTRAL.model_copy(update={"quiet_hours": ["01:00-07:00"]})
    told = "\n".join(summary(nothing, night, datetime(2026, 1, 7, 8, 30), None))
    assert "qido, nothing" in told and "0 files in the inbox\n" in told
    assert "0 requests" in told and "tomorrow from 01:00" in told
