"""The page of stewards and its source: what the record says must be what happened, and no more."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from test_views import tables, text_of

from dashboards.auth import purpose, review
from dashboards.auth.audit import Recorder, Seen
from dashboards.auth.principal import DEMO, Principal
from dashboards.auth.purpose import NotStated, Stated
from dashboards.components import downloads
from dashboards.data import stewardship
from dashboards.export import access_review
from dashboards.page import _record_download

DAY = datetime(2026, 11, 27, 23, 30, tzinfo=UTC)
BOARD, TRUST = Principal("board", "", "jane@nhs.example"), Principal("trust", "RMC", "t")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A record of two days: a reader who comes twice, a pack, a refusal, and a line that is cut off."""
    at = tmp_path / "audit"
    board, trust = Recorder(at, BOARD, "network", "b1"), Recorder(at, TRUST, "trust_rmc", "b1")
    pack = Seen("download", "shown", taken="board_pack_b1_network.pdf", purpose="board_report")
    board.add(Seen("sign_in", "shown"), DAY)
    board.add(pack, DAY)
    board.add(pack, DAY + timedelta(minutes=1))
    trust.add(Seen("download", "shown", taken="waits.csv", rows=4), DAY + timedelta(hours=1))
    trust.add(Seen("sql", "refused", sql="attach 'x'", reason="not allowed"), DAY)
    with next(at.glob("*.jsonl")).open("a") as file:
        file.write('{"at": "2026-11-2\n[]\n')
    return at


def test_the_record_is_counted_as_it_was_written(folder):
    """Failing means that the yearly review says another number than happened."""
    record = review.read(folder, date(2026, 11, 27), date(2026, 11, 28), "Europe/London")
    assert record.unreadable == 2 and record.events.height == 5
    counted = {
        (row["on"].day, row["role"], row["kind"], row["outcome"]): (
            row["event_count"],
            row["reader_count"],
        )
        for row in review.counts(record.events).to_dicts()
    }
    assert counted == {
        (28, "trust RMC", "download", "taken"): (1, 1),
        (27, "board", "board pack", "taken"): (2, 1),
        (27, "board", "sign-in", "let in"): (1, 1),
        (27, "trust RMC", "typed SQL", "refused"): (1, 1),
    }
    assert review.counts(record.events, "1mo")["event_count"].sum() == 5
    assert review.by_purpose(record.events).rows() == [
        ("board_report", "board", 2, 1),
        ("", "trust RMC", 1, 1),
    ]
    newest = review.taken(record.events).row(0, named=True)
    assert newest["at_local"] == datetime(2026, 11, 28, 0, 30) and newest["rows"] == 4
    assert review.refused(record.events)["reason"].to_list() == ["not allowed"]
    one_day = review.read(folder, date(2026, 11, 28), date(2026, 11, 28), "Europe/London")
    assert one_day.events.height == 1
    told = record.events.write_json()
    assert "jane" not in told and "attach" not in told


def test_no_record_and_lines_of_an_older_release_are_read(tmp_path):
    """Failing means that the page breaks on its first day, or on what was written before purposes."""
    assert review.read(
        tmp_path / "none", date(2026, 1, 1), date(2026, 1, 1), "UTC"
    ).events.is_empty()
    Recorder(tmp_path, BOARD).add(Seen("download", "shown", taken="a.csv"), DAY)
    path = next(tmp_path.glob("*.jsonl"))
    line = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in line.items() if not k.startswith("purpose")}))
    (row,) = review.taken(review.read(tmp_path, DAY.date(), DAY.date(), "UTC").events).to_dicts()
    assert (row["file"], row["purpose"]) == ("a.csv", "")


def test_a_purpose_says_enough():
    """Failing means that research is taken away without its approval, or an invented purpose counts."""
    assert purpose.stated("board_report", "ignored") == Stated("board_report")
    assert purpose.stated("research", "  REC\n1 ") == Stated("research", "REC 1")
    for key, words in ((None, ""), ("research", " "), ("other", ""), ("made_up", "x")):
        with pytest.raises(NotStated):
            purpose.stated(key, words)
    demo = Principal(DEMO, "", DEMO)
    asked = {rule: purpose.is_asked_of(demo, rule) for rule in ("signed_in", "everybody", "nobody")}
    assert asked == {"signed_in": False, "everybody": True, "nobody": False}
    assert purpose.is_asked_of(BOARD, "signed_in") and not purpose.is_asked_of(BOARD, "nobody")


def test_no_file_is_given_without_a_purpose_and_the_purpose_is_recorded(monkeypatch):
    """Failing means that a download leaves without anybody having said what it is for."""
    written: list[Seen] = []
    monkeypatch.setattr("dashboards.page._record", lambda build, who, seen: written.append(seen))
    given = (None, "throughput", {}, BOARD)
    with pytest.raises(NotStated):
        downloads._make(
            downloads.csv_bytes,
            pl.DataFrame({"a": [1]}),
            [],
            "a.csv",
            lambda name, rows: _record_download(*given, None, True, name, rows),
        )
    _record_download(*given, Stated("research", "REC 1"), False, "a.csv", 1)
    assert [(one.outcome, one.purpose, one.purpose_words) for one in written] == [
        ("refused", "", ""),
        ("shown", "research", "REC 1"),
    ]


def test_a_purpose_is_asked_once_and_then_every_button_is_there(
    open_view,
    audiences,
    signed_in,
):
    """Failing means that a reader is asked again for each file, or never."""
    signed_in("board")
    app = open_view("metric_dictionary", audiences)
    assert "Purpose of downloads: none stated" in text_of(app)
    app = open_view("throughput", audiences)
    assert not app.get("download_button")
    ask = next(button for button in app.button if button.label.startswith("State a purpose to"))
    ask.click().run()
    assert "Board or committee report" in app.selectbox(key="purpose_picked").options
    # The form runs by itself in a browser; here the whole page runs, so its answer is put in place.
    app.session_state[purpose.STATED] = (Principal("board", "", "s"), Stated("board_report"))
    app.run()
    assert not app.exception and app.get("download_button")
    assert "Purpose of downloads: Board or committee report" in text_of(app)


def test_the_page_shows_access_retention_quarantine_and_opt_outs(
    open_view,
    audiences,
    home,
    signed_in,
):
    """Failing means that a steward is told another state than the one that is."""
    Recorder(home / "dashboards" / "audit", TRUST).add(
        Seen("download", "shown", taken="waits.csv", rows=4), datetime.now(UTC)
    )
    signed_in("steward")
    app = open_view("steward", audiences)
    assert not app.exception and [one.value for one in app.title] == ["Stewardship"]
    shown = tables(app)
    assert shown["Files taken away, last 30 days"]["file"].to_list() == ["waits.csv"]
    told = text_of(app)
    for part in ("4 items from 03 Apr 2026 06:00 UTC", "message is for production", "12 days"):
        assert part in told
    assert "No list of opt-outs is read" in told and "(not decided)" in told
    access = stewardship.access(audiences).rows_by_key("role", named=True, unique=True)
    assert access["board"]["pages_read"] == "network" and not access["board"]["typed_sql_reads"]
    assert "Stewardship" in access["trust:<ODS>"]["closed_pages"]
    assert access["analyst"]["typed_sql_reads"] == "analyst"


def test_a_folder_of_an_older_release_has_the_page_too(tmp_path):
    """Failing means that the page breaks until the pipeline has run once more."""
    empty = stewardship.custody(tmp_path)
    assert empty.written_at is None and empty.places.is_empty() and empty.positions.is_empty()
    assert stewardship.audiences(tmp_path).is_empty()


def test_the_yearly_review_has_every_table_and_says_what_it_does_not_know(
    folder, published, tmp_path, monkeypatch, capsys
):
    """Failing means that the evidence of a year lacks a table, or hides that the record is short."""
    to = tmp_path / "review"
    span = ["--from", "2025-11-28", "--to", "2026-11-28"]
    places = ["--published", str(published), "--audit", str(folder), "--csv", str(to)]
    monkeypatch.setattr("sys.argv", ["access-review", *span, *places])
    assert access_review.main() == 0
    assert {path.stem for path in to.iterdir()} == {
        "access_by_role", "published_files", "events_by_month", "downloads_by_purpose",
        "downloads", "refusals", "retention", "quarantine", "opt_outs",
    }  # fmt: skip
    lines = (to / "downloads_by_purpose.csv").read_text().splitlines()
    assert "board_report,board,2,1" in lines
    assert "# the record begins in 2026-11: nothing is known of the time before" in lines
    assert "2 lines of the record cannot be read" in capsys.readouterr().out
    assert (to / "downloads.csv").stat().st_mode & 0o777 == 0o600
