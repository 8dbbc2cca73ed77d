"""Slots, appointments, opening, scanner years, sessions and data quality against the truth.

The rules are written here a second time in polars, over what the synthetic network knows.
"""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests import truth, truth_scanners
from tests.compared import apart, published_cells

MONTH, PARTY = "month", "party_code"
BY_SCANNER = tuple(truth_scanners.CELL)
LAST_DAY = date(2026, 3, 31)
SCANS = ("exam", "phantom")
# Rank of order_cancelled in the vocabulary of events.
CANCELLED = 18


@pytest.fixture(scope="module")
def published(demo):
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def warehouse(demo):
    with duckdb.connect(str(demo.path / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def assert_same(
    metric_id: str,
    expected: pl.DataFrame,
    found: pl.DataFrame,
    by: tuple[str, ...] = (PARTY, MONTH),
) -> None:
    """Every cell has the same parts, and neither side has one that the other lacks."""
    expected = expected.filter(pl.col("denominator") > 0)
    assert len(found) > 0
    wrong = apart(metric_id, expected, found, list(by))
    assert wrong.is_empty(), wrong


def by_scanner(published, metric_id: str) -> pl.DataFrame:
    """Cells of a metric by party, modality and month."""
    return published_cells(published, metric_id, "party", by_modality=True)


def month_of(name: str) -> pl.Expr:
    return pl.col(name).dt.date().dt.month_start().alias(MONTH)


def parts(
    rows: pl.DataFrame, counts: pl.Expr, by: tuple[str, ...] = (PARTY, MONTH)
) -> pl.DataFrame:
    """One row per party and month: rows, and those that count."""
    return rows.group_by(*by).agg(counts.sum().alias("numerator"), pl.len().alias("denominator"))


def told_from(folder: Path) -> date:
    parameters = json.loads((folder / "parameters.json").read_text("utf-8"))
    return date.fromisoformat(parameters["history_extract_on"])


def diary_slots(folder: Path) -> pl.DataFrame:
    """One row per slot of a day that a diary looks back on, as the newest one tells it."""
    rows = pl.read_parquet(folder / "booking_diary.parquet").with_columns(
        slot_at_local=pl.col("slot_start").str.to_datetime("%d/%m/%Y %H:%M")
    )
    day = pl.col("slot_at_local").dt.date()
    diaries = rows.select(PARTY, "diary_on").unique()
    newest = (
        rows.select(PARTY, day.alias("day_on"))
        .unique()
        .join(diaries, on=PARTY)
        .filter(
            (pl.col("diary_on") > pl.col("day_on"))
            & (pl.col("diary_on") - timedelta(weeks=6) <= pl.col("day_on"))
        )
        .group_by(PARTY, "day_on")
        .agg(pl.col("diary_on").max())
    )
    return rows.with_columns(day.alias("day_on")).join(newest, on=[PARTY, "day_on", "diary_on"])


def test_slots_used_agree_for_every_party_and_month_that_diaries_cover(demo, published):
    """A slot nobody came to is as lost as one nobody was offered."""
    folder = demo.path / "truth"
    slots = diary_slots(folder).with_columns(month_of("slot_at_local"))
    could_be_used = pl.col("slot_status").is_in(["attended", "did_not_attend", "cancelled", "free"])
    whole = [date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1)]
    expected = parts(
        slots.filter(could_be_used & pl.col(MONTH).is_in(whole)),
        pl.col("slot_status") == "attended",
        BY_SCANNER,
    )
    found = by_scanner(published, "U03")
    assert_same("U03", expected, found, BY_SCANNER)
    # a diary knows the exams, too, whose rows in an extract were refused
    seen = pl.read_parquet(folder / "exams.parquet").filter(
        pl.col("completed_at").is_not_null() & pl.col("station_name").is_not_null()
    )
    seen = seen.with_columns(month_of("appointment_at_local"))
    seen = seen.filter(pl.col(MONTH).is_in(whole)).unique(["station_name", "appointment_at"])
    assert found["numerator"].sum() == len(seen)


def test_missed_appointments_agree_for_every_party_and_month(demo, published):
    """The share of missed appointments is what a trust acts on first."""
    rows = truth.exams(demo.path / "truth")
    kept = rows.filter(
        pl.col("completed_at").is_not_null() & pl.col("appointment_at").is_not_null()
    )
    missed = rows.filter(pl.col("dna_at").is_not_null())
    both = pl.concat(
        [
            kept.select(PARTY, month_of("appointment_at_local"), missed=pl.lit(False)),
            missed.select(PARTY, month_of("dna_at_local"), missed=pl.lit(True)),
        ]
    ).filter(pl.col(MONTH) < date(2026, 4, 1))
    assert_same("U04", parts(both, pl.col("missed")), published_cells(published, "U04", "party"))


def test_short_notice_cancellations_agree_for_every_party_whose_messages_tell(demo, published):
    """A patient sent home on the day is the hospital's doing, and nobody else counts it."""
    folder = demo.path / "truth"
    rows = truth.exams(folder)
    is_told = pl.col("moved_at_local").dt.date() >= told_from(folder)
    notice = pl.col("moved_appointment_at") - pl.col("moved_at")
    moved = rows.filter((pl.col("moved_by") == "hospital") & is_told)
    slots = pl.concat(
        [
            rows.select("exam_no", PARTY, slot="appointment_at_local", short=pl.lit(False)),
            rows.filter(pl.col("dna_at").is_not_null()).select(
                "exam_no", PARTY, slot="dna_at_local", short=pl.lit(False)
            ),
            moved.select(
                "exam_no",
                PARTY,
                slot="moved_appointment_at_local",
                short=notice < timedelta(hours=24),
            ),
        ]
    )
    slots = slots.drop_nulls("slot").unique(["exam_no", "slot"], keep="last")
    found = published_cells(published, "U05", "party")
    # which party's messages had begun, and with them its months, is not in the truth
    expected = parts(slots.with_columns(month_of("slot")), pl.col("short")).join(
        found.select(PARTY, MONTH), on=[PARTY, MONTH], how="semi"
    )
    assert set(found[MONTH]) == {date(2026, 2, 1), date(2026, 3, 1)}
    assert_same("U05", expected, found)


@pytest.fixture(scope="module")
def opening(demo) -> dict[str, truth_scanners.Times]:
    """When each scanner was open in the live weeks, by its notice."""
    (file,) = (demo.path / "inbox" / "opening_hours").glob("*/*.csv")
    rows = pl.read_csv(file, infer_schema=False)
    return truth_scanners.opening(rows, told_from(demo.path / "truth"), LAST_DAY)


def left_over(folder: Path, times: truth_scanners.Times, station: str) -> truth_scanners.Times:
    """Time less the planned downtimes in which nobody was scanned."""
    planned = truth_scanners.down(folder, True).get(station, [])
    scanned = [truth_scanners.occupied(folder, kind).get(station, []) for kind in SCANS]
    return truth_scanners.without(times, truth_scanners.without(planned, *scanned))


def quotient(above: pl.DataFrame, below: pl.DataFrame, minutes: int = 1) -> pl.DataFrame:
    """Hours over hours by party, modality and month, in hours or in minutes; none above is 0."""
    both = below.join(above, on=BY_SCANNER, how="left", suffix="_above")
    return both.select(
        *BY_SCANNER,
        numerator=pl.col("hours_above").fill_null(0.0) * minutes,
        denominator=pl.col("hours") * minutes,
    )


def test_opening_hours_are_those_published(demo, published, opening):
    """A scanner is open for as long as its notice says, Sundays without a row included."""
    folder = demo.path / "truth"
    months = [date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)]
    days = pl.date_range(told_from(folder), LAST_DAY, eager=True).dt.month_start()
    places = [truth_scanners.stations(folder)[station] for station in opening]
    weeks = pl.DataFrame(
        [
            (*place, month, (days == month).sum() / 7 * places.count(place))
            for place in set(places)
            for month in months
        ],
        schema=truth_scanners.CELL | {"denominator": pl.Float64},
        orient="row",
    )
    hours = truth_scanners.hours_by_month(folder, opening).rename({"hours": "numerator"})
    expected = hours.join(weeks, on=BY_SCANNER)
    assert_same("U06", expected, by_scanner(published, "U06"), BY_SCANNER)


def test_exams_of_each_staffed_hour_agree_for_every_party_and_month(demo, published):
    """Scans outside the rota, or hours of it that count twice, make a scanner fast or slow."""
    folder = demo.path / "truth"
    hours = truth_scanners.hours_by_month(folder, truth_scanners.staffed(folder))
    expected = (
        hours.join(truth_scanners.scans_in_staffed_time(folder), on=BY_SCANNER, how="left")
        .with_columns(pl.col("scans").fill_null(0))
        .rename({"scans": "numerator", "hours": "denominator"})
    )
    assert_same("U01", expected, by_scanner(published, "U01"), BY_SCANNER)


def test_use_of_staffed_time_agrees_within_the_error_of_the_clocks(demo, published):
    """A scanner looks idle, or busy, for minutes in which it was neither."""
    folder = demo.path / "truth"
    staffed, scans = truth_scanners.staffed(folder), truth_scanners.occupied(folder)
    used = {
        name: truth_scanners.common(spans, scans.get(name, [])) for name, spans in staffed.items()
    }
    free = {name: left_over(folder, spans, name) for name, spans in staffed.items()}
    above, below = (truth_scanners.hours_by_month(folder, times) for times in (used, free))
    found = by_scanner(published, "U02")
    assert_within_clocks("U02", folder, quotient(above, below, 60), found)


def assert_within_clocks(
    metric_id: str, folder: Path, expected: pl.DataFrame, found: pl.DataFrame
) -> None:
    """As `assert_same`, but minutes may be wrong by as much as the clock of each session's scanner."""
    # a scanner tells whole seconds
    error = pl.col("clock_minutes") + 1 / 60
    errors = truth_scanners.sessions(folder).group_by(*BY_SCANNER).agg(error=error.sum())
    expected = expected.join(errors, on=BY_SCANNER, how="left")
    limits = {"numerator": pl.col("error").fill_null(0.0) + 1e-6}
    wrong = apart(metric_id, expected, found, list(BY_SCANNER), limits)
    assert wrong.is_empty(), wrong


@pytest.mark.parametrize(
    ("metric_id", "minutes"), [("U09", "delay_minutes"), ("U11", "idle_minutes")]
)
def test_delays_and_idle_gaps_agree_within_the_error_of_the_clocks(
    demo, published, metric_id, minutes
):
    """Sessions that begin late every day, or stand idle, are what a manager can change."""
    folder = demo.path / "truth"
    expected = (
        truth_scanners.sessions(folder)
        .group_by(*BY_SCANNER)
        .agg(numerator=pl.col(minutes).sum(), denominator=pl.len())
    )
    found = by_scanner(published, metric_id)
    assert_within_clocks(metric_id, folder, expected, found)


def test_unplanned_downtime_agrees_for_every_party_and_month(demo, published, opening):
    """A scanner that is down at night, or scans all the same, did not fail its patients."""
    folder = demo.path / "truth"
    failed = truth_scanners.down(folder, False)
    lost = {
        name: truth_scanners.without(
            truth_scanners.common(spans, failed.get(name, [])),
            truth_scanners.down(folder, True).get(name, []),
            *(truth_scanners.occupied(folder, kind).get(name, []) for kind in SCANS),
        )
        for name, spans in opening.items()
    }
    free = {name: left_over(folder, spans, name) for name, spans in opening.items()}
    above, below = (truth_scanners.hours_by_month(folder, times) for times in (lost, free))
    assert above["hours"].sum() > 0
    assert_same("U07", quotient(above, below), by_scanner(published, "U07"), BY_SCANNER)


def test_exams_per_scanner_and_year_agree_for_every_party_and_month(demo, published):
    """A scanner bought in March has worked for ten months of the year, not for twelve."""
    done = truth.exams(demo.path / "truth").filter(
        pl.col("completed_at").is_not_null() & pl.col("station_name").is_not_null()
    )
    used = done.group_by(PARTY, "station_name", month_of("started_at_local")).len("exams")
    ends = used.select(pl.col(MONTH).unique().sort())
    first = pl.col("used_in").min().over(PARTY)
    expected = (
        used.rename({MONTH: "used_in"})
        .with_columns(first_month=first)
        .join(ends, how="cross")
        .filter(
            (pl.col("used_in") <= pl.col(MONTH))
            & (pl.col("used_in").dt.offset_by("12mo") > pl.col(MONTH))
            & (pl.col("first_month").dt.offset_by("11mo") <= pl.col(MONTH))
        )
        .group_by(PARTY, MONTH)
        .agg(pl.col("exams").sum().alias("numerator"), (pl.len() / 12).alias("denominator"))
    )
    assert_same("U08", expected, published_cells(published, "U08", "party"))


def test_the_delay_of_the_first_patient_is_that_of_scanners_with_a_right_clock(demo, warehouse):
    """A session that begins late every day loses a patient a day."""
    folder = demo.path / "truth"
    clocks = pl.read_parquet(folder / "device_clocks.parquet")
    right = clocks.group_by("station_name").agg((pl.col("kind") == "exact").all().alias("right"))
    stations = right.filter("right")["station_name"].to_list()
    series = pl.read_parquet(folder / "dicom_series.parquet").filter(
        (pl.col("scan_kind") == "exam") & pl.col("station_name").is_in(stations)
    )
    visits = series.select("station_name", taken_from=pl.col("start_at") - timedelta(minutes=2))
    found = warehouse.sql(
        "select station_name, started_at, ended_at, first_delay_seconds "
        "from intermediate.int_station_sessions where first_delay_seconds is not null "
        "and list_contains(?, station_name)",
        params=[stations],
    ).pl()
    # a patient of just before may still be on the table: how long is not a matter of this test
    both = found.join(visits, on="station_name")
    begun = pl.col("taken_from") < pl.col("started_at")
    recent = pl.col("taken_from") > pl.col("started_at") - timedelta(hours=2)
    found = found.join(both.filter(begun & recent), on=["station_name", "started_at"], how="anti")
    first = (
        both.join(found, on=["station_name", "started_at"], how="semi")
        .filter(pl.col("taken_from").is_between(pl.col("started_at"), pl.col("ended_at")))
        .group_by("station_name", "started_at", "first_delay_seconds")
        .agg(pl.col("taken_from").min().alias("first"))
        .with_columns(delay=(pl.col("first") - pl.col("started_at")).dt.total_seconds())
    )
    assert len(first) == len(found) > 5
    wrong = first.filter((pl.col("delay") - pl.col("first_delay_seconds")).abs() > 1)
    assert wrong.is_empty(), wrong


def exam_months(folder: Path) -> pl.DataFrame:
    """Every request with its month: of the exam, while not performed of the request."""
    at = pl.when(pl.col("completed_at").is_not_null()).then("started_at_local")
    at = at.otherwise("requested_at_local").dt.date().dt.month_start()
    return truth.exams(folder).with_columns(at.alias(MONTH)).filter(pl.col(MONTH) <= LAST_DAY)


def test_rows_told_twice_are_those_that_were_planted(demo, published):
    """A row that comes twice doubles whatever somebody counts in the file itself."""
    folder = demo.path / "truth"
    found = published_cells(published, "Q02", "party")
    twice = exam_months(folder).filter(pl.col("extract_dirt") == "exact_duplicate_row")
    # how often an extract tells of an exam is a fact of the deliveries: the rows repeated are compared
    expected = (
        found.select(PARTY, MONTH, denominator=pl.lit(None, pl.Float64))
        .join(twice.group_by(PARTY, MONTH).len("numerator"), on=[PARTY, MONTH], how="left")
        .with_columns(pl.col("numerator").fill_null(0))
    )
    rows = found.with_columns(denominator=pl.lit(None, pl.Float64))
    wrong = apart("Q02", expected, rows, [PARTY, MONTH])
    assert wrong.is_empty(), wrong
    planted = pl.read_parquet(folder / "dirt.parquet")["kind"].to_list()
    assert found["numerator"].sum() == planted.count("exact_duplicate_row") > 0


def test_valid_nhs_numbers_agree_for_every_party_and_month(demo, published):
    """A number that nobody checks links one patient to another's images."""
    folder = demo.path / "truth"
    rows = exam_months(folder)
    # a number found when all had been told came with no message of the exam
    merges = pl.read_parquet(folder / "patient_merges.parquet")
    merges = merges.group_by("exam_no").agg(pl.col("merged_at").max())
    told = pl.max_horizontal("requested_at", "completed_at", "verified_at", "addendum_at")
    late = rows.join(merges, on="exam_no").filter(told < pl.col("merged_at"))
    rows = rows.join(late, on="exam_no", how="anti")
    rows = rows.filter(pl.col("nhs_number_state") != "missing")
    expected = parts(rows, pl.col("nhs_number_state") == "valid")
    assert_same("Q01", expected, published_cells(published, "Q01", "party"))


def test_dates_out_of_order_agree_for_every_party_and_month(demo, published):
    """Dates in a wrong order make waits and turnarounds that nobody had."""
    order = ["requested_at", "received_at", "started_at", "completed_at", "verified_at"]
    rows = exam_months(demo.path / "truth")
    pairs = pl.concat(
        rows.filter(pl.col(earlier).is_not_null() & pl.col(later).is_not_null()).select(
            PARTY, MONTH, is_wrong=pl.col(later) < pl.col(earlier)
        )
        for earlier, later in pairwise(order)
    )
    assert pairs["is_wrong"].sum() > 5
    expected = parts(pairs, pl.col("is_wrong"))
    assert_same("Q03", expected, published_cells(published, "Q03", "party"))


def test_exam_codes_without_a_meaning_agree_for_every_party_and_month(demo, published):
    """An exam of no known kind is on no list and in no modality."""
    rows = exam_months(demo.path / "truth")
    unknown = pl.col("exam_code_delivered").ne_missing(pl.col("exam_code"))
    assert_same("Q04", parts(rows, unknown), published_cells(published, "Q04", "party"))


def with_images(folder: Path) -> pl.DataFrame:
    """Exams done with images of their own, or of the exam they were done together with."""
    scanned = truth.imaged_exams(folder)["exam_no"].implode()
    is_scanned = pl.col("exam_no").is_in(scanned) | pl.col("performed_with").is_in(scanned)
    done = truth.exams(folder).filter(is_scanned & pl.col("completed_at").is_not_null())
    return done.with_columns(month_of("started_at_local"))


def test_exams_matched_to_images_agree_for_every_party_and_month(demo, published):
    """Scanner time stands on images: an exam without any is time that nobody sees."""
    folder = demo.path / "truth"
    series = pl.read_parquet(folder / "dicom_series.parquet")
    day = pl.col("delivered_at").dt.convert_time_zone("Europe/London").dt.date()
    covered = series.group_by(PARTY).agg(first=day.min(), last=day.max())
    imaged = with_images(folder)
    groups = imaged["modality_group"].unique().implode()
    expected = (
        truth.exams(folder)
        .filter(pl.col("completed_at").is_not_null() & pl.col("modality_group").is_in(groups))
        .join(covered, on=PARTY)
        .filter(pl.col("started_at_local").dt.date().is_between(pl.col("first"), pl.col("last")))
        .with_columns(month_of("started_at_local"))
    )
    is_matched = pl.col("exam_no").is_in(imaged["exam_no"].implode())
    assert_same("Q05", parts(expected, is_matched), published_cells(published, "Q05", "party"))


def test_ct_exams_with_a_dose_report_agree_for_every_party_and_month(demo, published):
    """A dose that was not read is missing from every average, and the average looks whole."""
    folder = demo.path / "truth"
    told = pl.read_parquet(folder / "dose_events.parquet")["exam_no"].unique().implode()
    rows = with_images(folder).filter(pl.col("modality_group") == "CT")
    is_told = pl.col("exam_no").is_in(told) | pl.col("performed_with").is_in(told).fill_null(False)
    assert_same("Q10", parts(rows, is_told), published_cells(published, "Q10", "party"))


def test_exams_without_a_report_date_agree_for_every_party_and_month(demo, published):
    """A report that nobody dates is late for ever and shows in no turnaround."""
    done = truth.exams(demo.path / "truth").filter(pl.col("completed_at").is_not_null())
    done = done.with_columns(month_of("started_at_local")).filter(pl.col(MONTH) < date(2026, 3, 1))
    assert_same(
        "Q07",
        parts(done, pl.col("verified_at").is_null()),
        published_cells(published, "Q07", "party"),
    )


def test_no_exam_of_the_network_has_images_of_another_modality(demo, published):
    """A PET-CT exam has CT series, and a scan of two exams one study: neither disagrees."""
    expected = parts(with_images(demo.path / "truth"), pl.lit(False))
    assert_same("Q06", expected, published_cells(published, "Q06", "party"))


AUDITED = [date(2026, 2, 1), date(2026, 3, 1)]
FROM_A_RECORD = ["own_record", "shared_record", "gp"]


@pytest.fixture(scope="module")
def views(demo) -> pl.DataFrame:
    """One row per view of the audited months, failed launches included, with the owner of the images."""
    folder = demo.path / "truth"
    rows = pl.concat(
        truth.image_views(folder, month).with_columns(pl.lit(month).alias(MONTH))
        for month in AUDITED
    )
    assert rows["is_certain"].all()
    owners = truth.exams(folder).select("exam_no", owner=PARTY)
    return rows.join(owners, on="exam_no").rename({"viewer_party": PARTY})


def test_failed_launches_agree_for_every_party_and_month(published, views):
    """A viewer that does not open is why clinicians telephone instead."""
    expected = parts(views, pl.col("launch_failed"))
    assert_same("C06", expected, published_cells(published, "C06", "party"))


def test_seconds_to_the_first_image_agree_for_every_party_and_month(published, views):
    """A shared archive that is slow is not used."""
    seconds = views.filter(~pl.col("launch_failed")).drop_nulls("seconds_to_first_image")
    expected = seconds.group_by(PARTY, MONTH).agg(
        numerator=pl.col("seconds_to_first_image").sum(), denominator=pl.len()
    )
    found = published_cells(published, "C07", "party")
    wrong = apart("C07", expected, found, [PARTY, MONTH], {"numerator": 1e-6})
    assert wrong.is_empty(), wrong


def test_images_opened_from_a_record_agree_for_every_party_and_month(demo, published, views):
    """Half of the promises are that images are where the patient's record is."""
    done = truth.exams(demo.path / "truth").filter(pl.col("completed_at").is_not_null())
    done = done.with_columns(month_of("started_at_local")).filter(pl.col(MONTH).is_in(AUDITED))
    opened = views.filter(~pl.col("launch_failed") & pl.col("route").is_in(FROM_A_RECORD))
    opened = opened.group_by(pl.col("owner").alias(PARTY), MONTH).len("numerator")
    expected = (
        done.group_by(PARTY, MONTH)
        .agg(denominator=pl.len() / 1000)
        .join(opened, on=[PARTY, MONTH], how="left")
        .with_columns(pl.col("numerator").fill_null(0))
    )
    assert_same("C04", expected, published_cells(published, "C04", "party"))


def test_latency_and_late_arrivals_are_those_of_what_landed(demo, published):
    """A figure that moves after a board has seen it has to be told beside it."""
    rows = pl.read_parquet(
        demo.path / "landing" / "imaging_events" / "*.parquet",
        columns=[
            "event_id",
            "event_rank",
            "exam_key",
            "feed_id",
            "event_ts_utc",
            "received_at",
            "status_raw",
        ],
    ).filter(
        # the order of a number that another replaces (ORC-1 RU) goes on, and is not cancelled
        ~pl.col("status_raw").fill_null("").str.starts_with("ORC1=RU|")
        | (pl.col("event_rank") != CANCELLED)
    )
    first_day = (
        (pl.col("received_at").dt.convert_time_zone("Europe/London").dt.truncate("1d").min())
        .over("feed_id")
        .dt.convert_time_zone("UTC")
    )
    local = pl.col("event_ts_utc").dt.convert_time_zone("Europe/London").dt.date()
    told = (
        rows.filter((pl.col("event_rank") < 100) & pl.col("exam_key").is_not_null())
        .with_columns(begins=first_day, month=local.dt.month_start())
        .filter((pl.col("event_ts_utc") >= pl.col("begins")) & pl.col("month").is_in(AUDITED))
        .group_by("event_id", "event_ts_utc", "month")
        .agg(pl.col("received_at").min())
    )
    closes = {month: second_day_after(month) for month in AUDITED}
    is_late = pl.col("received_at") > pl.col("month").replace_strict(closes)
    hours = (pl.col("received_at") - pl.col("event_ts_utc")).dt.total_seconds() / 3600
    late = told.group_by("month").agg(numerator=is_late.sum(), denominator=pl.len())
    latency = told.group_by("month").agg(
        numerator=hours.filter(hours >= 0).sum(), denominator=pl.len()
    )
    in_time = pl.col("month").is_in(AUDITED)
    found = {name: published_cells(published, name).filter(in_time) for name in ("Q08", "Q09")}
    wrong = apart("Q09", late, found["Q09"], ["month"])
    assert wrong.is_empty(), wrong
    # events of which only the day is told have no latency
    limits = {name: 0.02 * pl.col(name) for name in ("numerator", "denominator")}
    wrong = apart("Q08", latency, found["Q08"], ["month"], limits)
    assert wrong.is_empty(), wrong


def second_day_after(month: date) -> datetime:
    """The midnight (UTC) that begins the second day of the next month: then a month is closed."""
    after = (month.replace(day=28) + timedelta(days=4)).replace(day=2)
    return datetime(after.year, after.month, 2, tzinfo=truth.LONDON).astimezone(UTC)
