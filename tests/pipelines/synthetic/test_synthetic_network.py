"""The synthetic network as files: what a reader may rely on."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import hl7
import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom.errors import InvalidDicomError

from pipelines.demo import DEMO_SCALE
from pipelines.network import Network
from pipelines.synthetic import SyntheticSummary, calendar, generate, ris_extract
from pipelines.synthetic.dirt import EXTRACT_REJECT_RATES
from pipelines.synthetic.faults import break_batch
from pipelines.synthetic.patients import check_digit
from pipelines.synthetic.period import Period

SEEDS = Path(__file__).parents[3] / "dbt_project" / "seeds"
SCALE = 0.0003
CUTOFF = datetime(2026, 1, 7, tzinfo=UTC)
END = datetime(2026, 3, 31, 23, tzinfo=UTC)


@dataclass(frozen=True)
class Written:
    """One generated network."""

    inbox: Path
    truth: Path
    summary: SyntheticSummary

    def exams(self) -> pl.DataFrame:
        return pl.read_parquet(self.truth / "exams.parquet")

    def extract(self) -> pl.DataFrame:
        files = sorted(self.inbox.glob("ris_extract/*/*.csv"))
        return pl.concat(
            pl.read_csv(f, infer_schema=False).with_columns(party=pl.lit(f.stem[-3:]))
            for f in files
        )

    def messages(self) -> list[str]:
        found = []
        for file in sorted(self.inbox.glob("hl7/*/*.hl7")):
            text = file.read_bytes().decode("utf-8")
            assert "\n" not in text
            found += ["MSH" + part for part in text.split("MSH|^~\\&")[1:]]
        return [f"MSH|^~\\&{message[3:]}" for message in found]

    def dirt(self) -> dict[str, dict[str, int]]:
        return json.loads((self.truth / "dirt.json").read_text("utf-8"))


def _generate(folder: Path, seed: int = 7, scale: float = SCALE) -> Written:
    network = Network.load(SEEDS)
    summary = generate(network, folder / "inbox", folder / "truth", seed=seed, scale=scale)
    return Written(folder / "inbox", folder / "truth", summary)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return _generate(tmp_path_factory.mktemp("network"))


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """Failing means that figures of the demo cannot be repeated by a reader."""
    _generate(tmp_path / "a", scale=0.0001)
    _generate(tmp_path / "b", scale=0.0001)
    first, second = _digests(tmp_path / "a"), _digests(tmp_path / "b")
    assert first == second
    assert len(first) > 100


def test_another_seed_writes_another_network(tmp_path: Path, written: Written) -> None:
    """Failing means that the seed is ignored."""
    other = _generate(tmp_path, seed=8, scale=0.0001)
    assert other.exams().height != written.exams().height


def test_an_extract_has_exactly_the_agreed_columns(written: Written) -> None:
    """Failing means that the extract no longer matches its contract."""
    files = sorted(written.inbox.glob("ris_extract/2026-01-07/ris_extract_*.csv"))
    assert len(files) == 8
    for file in files:
        header = file.open(encoding="utf-8").readline().strip().split(",")
        assert tuple(header) == ris_extract.COLUMNS


def test_the_small_feeds_have_exactly_the_agreed_columns(written: Written) -> None:
    """Failing means that a reference feed no longer matches its contract."""
    agreed = {
        "rota/2026-01-07/rota_RMC.csv": "station_name,site_code,session_start,session_end,"
        "staff_group,staff_count,pay_type",
        "opening_hours/2026-01-07/opening_hours.csv": "station_name,site_code,weekday,opens,"
        "closes,valid_from,valid_to",
        "go_lives/2026-01-07/go_lives.csv": "party_code,go_live_type,go_live_on,source,"
        "source_status,note",
        "benefit_register/2026-01-07/benefit_register.csv": "benefit_id,title,description,"
        "benefit_class,category,promise,owner_role,beneficiary,measure_metric_id,unit,improvement,"
        "baseline_from,baseline_to,counterfactual_method,target_value,target_on,"
        "planned_value_gbp_per_year,assumption_id,attribution_rate,double_count_group,status,"
        "last_reviewed_on,source_status,go_live_type,ramp_months,confidence_rate,optimism_rate,"
        "units_per_effect,unit_value_low_gbp,unit_value_gbp,unit_value_high_gbp,price_base_year,"
        "value_source,value_source_status,ledger_line,register_version,signed_off_by_role,"
        "signed_off_on",
        "unit_costs/2026-01-07/unit_costs.csv": "assumption_id,item,low_gbp,high_gbp,unit,"
        "price_base_year,source_status,source",
    }
    for name, header in agreed.items():
        file = written.inbox / name
        assert file.open(encoding="utf-8").readline().strip() == header


def test_only_the_first_go_live_is_called_verified(written: Written) -> None:
    """Failing means that an invented date is shown as a public fact."""
    rows = pl.read_csv(written.inbox / "go_lives/2026-01-07/go_lives.csv", infer_schema=False)
    verified = rows.filter(pl.col("source_status") == "verified")
    assert verified.select("party_code", "go_live_type", "go_live_on").rows() == [
        ("RW6", "archive", "2020-11-30")
    ]
    assert set(rows["source_status"]) == {"verified", "synthetic"}


def test_every_nhs_number_is_of_the_test_range_and_only_the_planted_ones_fail(
    written: Written,
) -> None:
    """Failing means a number that could belong to a person, or faults that were not planted."""
    rows = written.extract().filter(pl.col("nhs_number").is_not_null())
    assert rows["nhs_number"].str.starts_with("999").all()
    numbers = rows["nhs_number"].cast(pl.Int64).to_numpy()
    wrong = int((check_digit(numbers // 10) != numbers % 10).sum())
    assert wrong == written.dirt()["ris_extract"]["nhs_number_invalid"]


def test_two_exams_never_share_a_scanner_at_the_same_time(written: Written) -> None:
    """Failing means that scanner utilisation rests on impossible days."""
    overlaps = (
        written.exams()
        .filter(pl.col("station_name").is_not_null() & pl.col("completed_at").is_not_null())
        # Two exams of one scan share its time.
        .filter(pl.col("performed_with").is_null())
        .sort("station_name", "started_at", "completed_at")
        .with_columns(next_start=pl.col("started_at").shift(-1).over("station_name"))
        .filter(pl.col("next_start") < pl.col("completed_at"))
    )
    assert overlaps.height == 0


def test_the_events_of_an_exam_follow_their_order(written: Written) -> None:
    """Failing means date-order faults beyond those counted in the truth."""
    exams = written.exams()
    good = exams.filter(~pl.col("is_date_order_violation"))
    for earlier, later in (
        ("requested_at", "received_at"),
        ("received_at", "started_at"),
        ("received_at", "booked_at"),
        ("booked_at", "appointment_at"),
        ("dna_at", "started_at"),
        ("started_at", "completed_at"),
        ("completed_at", "verified_at"),
        ("completed_at", "preliminary_at"),
        ("verified_at", "addendum_at"),
    ):
        assert good.filter(pl.col(later) < pl.col(earlier)).height == 0, (earlier, later)
    planted = exams.filter("is_date_order_violation")
    assert (planted["verified_at"] < planted["completed_at"]).all()
    assert planted.height > 0


def test_nothing_in_the_truth_lies_past_the_last_day(written: Written) -> None:
    """Failing means that the truth holds facts no file can tell."""
    exams = written.exams()
    for name in exams.columns:
        if name.endswith("_at") and "appointment" not in name:
            assert exams.filter(pl.col(name) >= END).height == 0, name


def test_every_planted_fault_of_the_extract_is_in_the_files(written: Written) -> None:
    """Failing means that the counts of the truth cannot be used to check the warehouse."""
    planted = written.dirt()["ris_extract"]
    rows = written.extract()
    parsed = rows.with_columns(
        pl.col("started_at").str.to_datetime("%d/%m/%Y %H:%M", strict=False).alias("start"),
        pl.col("verified_at").str.to_datetime("%d/%m/%Y %H:%M", strict=False).alias("verified"),
        pl.col("completed_at").str.to_datetime("%d/%m/%Y %H:%M", strict=False).alias("done"),
    )
    cutoff = datetime(2026, 1, 7)
    found = {
        "nhs_number_missing": rows["nhs_number"].null_count(),
        "missing_accession": rows["accession_number"].null_count(),
        "unknown_exam_code": rows.filter(pl.col("exam_code") == "ZZQ99").height,
        "exact_duplicate_row": rows.height - rows.unique().height,
        "unparseable_date": parsed.filter(
            pl.col("started_at").is_not_null() & pl.col("start").is_null()
        ).height,
        "started_in_future": parsed.filter(pl.col("start") >= cutoff).height,
        "verified_before_completed": parsed.filter(pl.col("verified") < pl.col("done")).height,
    }
    assert found == {kind: planted[kind] for kind in found}


def test_few_rows_of_an_extract_must_be_refused(written: Written) -> None:
    """Failing means that the good deliveries would not pass the gate."""
    ledger = pl.read_parquet(written.truth / "dirt.parquet")
    refused = ledger.filter(pl.col("kind").is_in(list(EXTRACT_REJECT_RATES)))
    rows = written.extract().group_by("party").len()
    share = (
        refused.group_by(party=pl.col("file").str.slice(-7, 3))
        .len(name="refused")
        .join(rows, on="party")
    )
    assert share.filter(pl.col("refused") / pl.col("len") >= 0.005).height == 0
    assert set(refused["kind"]) == set(EXTRACT_REJECT_RATES)


def test_extract_rows_and_truth_tell_the_same_local_times(written: Written) -> None:
    """Failing means that summer time was lost between the truth and the files."""
    truth = written.exams().filter(pl.col("is_in_extract") & ~pl.col("is_refused"))
    rows = written.extract().unique(["party", "accession_number"])
    both = truth.join(
        rows.select("party", "accession_number", pl.col("requested_at").alias("written")),
        left_on=["party_code", "accession_number"],
        right_on=["party", "accession_number"],
    )
    assert both.height == truth.height
    local = both["requested_at_local"].dt.strftime("%d/%m/%Y %H:%M")
    assert (local == both["written"]).all()
    ahead = both["requested_at_local"] - both["requested_at"].dt.replace_time_zone(None)
    assert set(ahead.dt.total_hours()) == {0, 1}


def test_accession_numbers_repeat_between_parties_but_never_within_one(written: Written) -> None:
    """Failing means that a warehouse keyed on the number alone would go unnoticed."""
    exams = written.exams()
    assert exams.select("party_code", "accession_number").is_duplicated().sum() == 0
    assert exams["accession_number"].is_duplicated().any()


def test_requests_are_still_waiting_at_the_end(written: Written) -> None:
    """Failing means that there is no waiting list to show."""
    waiting = written.exams().filter(
        pl.col("dm01_test").is_not_null()
        & pl.col("started_at").is_null()
        & pl.col("cancelled_at").is_null()
        & ~pl.col("source_setting").is_in(["01", "05"])
    )
    assert waiting.height > 5


def test_messages_can_be_parsed_and_tell_what_the_truth_holds(written: Written) -> None:
    """Failing means that the live weeks cannot be rebuilt from the messages."""
    parsed = []
    for text in written.messages():
        if text.count("|") > 12:
            parsed.append(hl7.parse(text))
    live = [m for m in parsed if str(m["MSH.F11"]) == "P"]
    completed = {
        (str(m["MSH.F4"]), str(m["OBR.F18"]))
        for m in live
        if str(m.segment("MSH")[9]) == "OMG^O19" and str(m["ORC.F5"]) == "CM"
    }
    verified = {
        (str(m["MSH.F4"]), str(group[18]))
        for m in live
        if str(m.segment("MSH")[9]) == "ORU^R01"
        for group in m.segments("OBR")
        if str(group[25]) == "F"
    }
    exams = written.exams()
    key = ("party_code", "accession_number")
    expected_completed = set(exams.filter(pl.col("completed_at") >= CUTOFF).select(key).rows())
    expected_verified = set(
        exams.filter((pl.col("verified_at") >= CUTOFF) | (pl.col("addendum_at") >= CUTOFF))
        .select(key)
        .rows()
    )
    assert completed == expected_completed
    assert verified == expected_verified


def test_a_report_names_its_reporter_and_the_employer(written: Written) -> None:
    """Failing means that cross-site reporting cannot be counted."""
    reports = [hl7.parse(t) for t in written.messages() if "|ORU^R01|" in t]
    orgs = {str(m["OBX.F15"]) for m in reports}
    assert "ZZT01" in orgs
    assert len(orgs) > 3
    final = next(m for m in reports if str(m["OBR.F25"]) == "F")
    assert str(final["OBR.F32.R1.C1.S1"]).startswith("C999")
    text = "".join(t for t in written.messages() if "|ORU^R01|" in t)
    assert "\\T\\" in text
    assert any(ord(letter) > 127 for letter in text)


def test_planted_message_faults_are_counted_and_at_most_two_a_file(written: Written) -> None:
    """Failing means that a good day of messages would be held back, or faults go uncounted."""
    planted = written.dirt()["hl7"]
    test_messages = [t for t in written.messages() if t.split("|")[10:11] == ["T"]]
    headless = [
        f for f in written.inbox.glob("hl7/*/*.hl7") if not f.read_bytes().startswith(b"MSH")
    ]
    control = [t.split("|")[9] for t in written.messages() if t.count("|") > 12]
    assert len(test_messages) == planted["test_message"]
    assert len(headless) == planted["no_msh"]
    assert len(control) == len(set(control))
    ledger = pl.read_parquet(written.truth / "dirt.parquet").filter(
        pl.col("kind").is_in(["no_msh", "truncated_message", "test_message"])
    )
    assert ledger.group_by("file").len()["len"].max() <= 2


def test_dicom_files_can_be_read_except_the_damaged_ones(written: Written) -> None:
    """Failing means that the harvest cannot be measured on these files."""
    damaged = 0
    seen: dict[str, str] = {}
    for file in sorted(written.inbox.glob("dicom/*/*/*/*.dcm")):
        try:
            header = pydicom.dcmread(file)
            header.decode()
            if header.Modality != "SR":
                assert len(header.pixel_array) == header.get("NumberOfFrames", header.Rows)
        except (InvalidDicomError, EOFError, AttributeError):
            damaged += 1
            continue
        seen.setdefault(header.SOPInstanceUID, file.name)
        assert header.Modality in {"CT", "MR", "DX", "US", "NM", "PT", "MG", "SR"}
        is_phantom = header.get("QualityControlImage") == "YES"
        # a patient typed by hand: no number, or one that no request has
        assert header.AccessionNumber[:1] in ({""} if is_phantom else {"A", "X", ""})
        assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
    planted = written.dirt()["dicom"]
    assert damaged == sum(n for kind, n in planted.items() if kind.startswith("damaged"))
    series = pl.read_parquet(written.truth / "dicom_series.parquet")
    reports = sum(name.startswith("SR") for name in seen.values())
    assert len(seen) - reports == series["files"].sum() + planted["secondary_capture"]


def test_dicom_times_fall_inside_the_exam_of_the_radiology_system(written: Written) -> None:
    """Failing means that images and exams could not be matched in time."""
    series = pl.read_parquet(written.truth / "dicom_series.parquet")
    series = series.filter(pl.col("scan_kind") == "exam")
    exams = written.exams().select("exam_no", "started_at", "completed_at", "has_images")
    both = series.join(exams, on="exam_no", suffix="_exam")
    assert both.height == series.height
    assert (both["start_at"] >= both["started_at"]).all()
    assert (both["end_at"] <= both["completed_at"]).all()
    assert (both["start_at"] <= both["end_at"]).all()
    assert both["has_images"].all()


def test_the_archive_feed_has_the_agreed_size_at_full_scale(written: Written) -> None:
    """Failing means that the harvest is measured on too few or too many files."""
    series = pl.read_parquet(written.truth / "dicom_series.parquet")
    files = series.filter(pl.col("scan_kind") == "exam")["files"].sum()
    expected = files / SCALE * DEMO_SCALE
    # 10,100 in the demo itself; a network of this size strays by some hundreds
    assert 8_500 <= expected <= 11_500
    assert written.summary.records["dicom"] == len(list(written.inbox.glob("dicom/*/*/*/*.dcm")))


def test_rota_files_come_weekly_and_cover_the_live_weeks(written: Written) -> None:
    """Failing means that staffed time is missing in some week."""
    days = sorted(p.name for p in (written.inbox / "rota").iterdir())
    assert days[0] == "2026-01-07"
    assert days[-1] == "2026-03-25"
    assert len(days) == 12
    assert all(date.fromisoformat(day).weekday() == 2 for day in days)
    rota = pl.read_parquet(written.truth / "rota.parquet")
    files = [pl.read_csv(f) for f in sorted(written.inbox.glob("rota/*/*.csv"))]
    assert sum(f.height for f in files) == rota.height
    scheduled = written.exams().filter(
        (pl.col("started_at") >= CUTOFF)
        & pl.col("appointment_at").is_not_null()
        & pl.col("station_name").is_not_null()
    )
    assert scheduled.height > 30
    assert set(scheduled["station_name"]) <= set(rota["station_name"])


def test_the_known_effect_is_in_the_truth(written: Written) -> None:
    """Failing means that the go-live analysis cannot be checked against what was put in."""
    parameters = json.loads((written.truth / "parameters.json").read_text("utf-8"))
    assert parameters["effects_of_network_reporting"]["turnaround_factor_after"] == 0.9
    reports = written.exams().filter(
        pl.col("verified_at").is_not_null() & (pl.col("reporter_org") != "ZZT01")
    )
    before = reports.filter(pl.col("verified_at").dt.year() <= 2019)["is_cross_site"].mean()
    after = reports.filter(pl.col("verified_at").dt.year() >= 2023)["is_cross_site"].mean()
    assert before < 0.03
    assert 0.12 < after < 0.21


def test_every_live_day_with_an_event_has_a_delivery(written: Written) -> None:
    """Failing means that a day of messages is missing."""
    days = {p.name for p in (written.inbox / "hl7").iterdir()}
    told = written.exams().filter(pl.col("completed_at") >= CUTOFF)["completed_at_local"]
    assert {str(day) for day in told.dt.date()} <= days
    assert days <= {str(day) for day in Period.of().live_days}
    assert len(days) > 70


@pytest.mark.parametrize("feed", ["ris_extract", "hl7"])
@pytest.mark.parametrize("kind", ["missing_column", "wrong_type", "future_dates"])
def test_a_broken_batch_is_broken_in_the_named_way(written: Written, feed: str, kind: str) -> None:
    """Failing means that the demo of the gate shows a good file being held back."""
    path = break_batch(kind, written.inbox, feed=feed, party="R0A", day=date(2027, 1, 1))
    text = path.read_bytes().decode("utf-8")
    path.unlink()
    assert path.parent.name == "2027-01-01"
    signs = {"missing_column": "A26", "wrong_type": "45321.5", "future_dates": "2031"}
    if kind == "missing_column":
        header = text.splitlines()[0] if feed == "ris_extract" else ""
        assert "accession_number" not in header
        assert "|A26" not in text
    else:
        assert signs[kind] in text


def test_an_unknown_fault_names_the_known_ones(written: Written) -> None:
    """Failing means that a typing error in a demo goes unnoticed."""
    with pytest.raises(ValueError, match="missing_column, wrong_type, future_dates"):
        break_batch("sideways", written.inbox)


def test_a_scale_of_nothing_is_refused(tmp_path: Path) -> None:
    """Failing means that an empty network passes for a small one."""
    with pytest.raises(ValueError, match="scale must be from"):
        _generate(tmp_path, scale=0)


def test_progress_is_told_step_by_step(tmp_path: Path) -> None:
    """Failing means that a person at the console sees nothing for the whole run."""
    told: list[tuple[str, int, int]] = []
    generate(
        Network.load(SEEDS),
        tmp_path / "inbox",
        tmp_path / "truth",
        scale=0.0001,
        progress=lambda step, number, of: told.append((step, number, of)),
    )
    assert [number for _, number, _ in told] == list(range(1, told[0][2] + 1))


def test_the_time_of_each_kind_is_that_of_the_timer_handed_in(tmp_path: Path) -> None:
    """Failing means that nobody can say which kind of file takes long, or that a clock is read."""
    ticks = iter(range(10_000))
    summary = generate(
        Network.load(SEEDS),
        tmp_path / "inbox",
        tmp_path / "truth",
        scale=0.0001,
        timer=lambda: float(next(ticks)),
    )
    months = len(Period.of().months)
    assert summary.seconds["exams"] == months
    assert summary.seconds["dicom"] == months + 1
    assert {"ris_extract", "hl7", "dicom", "rota", "images", "truth"} <= set(summary.seconds)


@pytest.mark.parametrize(
    ("year", "day"),
    [(2018, date(2018, 4, 1)), (2024, date(2024, 3, 31)), (2026, date(2026, 4, 5))],
)
def test_easter_falls_on_the_known_sunday(year: int, day: date) -> None:
    """Failing means wrong bank holidays in spring."""
    assert calendar.easter_sunday(year) == day


def test_bank_holidays_of_known_years_are_right() -> None:
    """Failing means sessions and bookings on days when departments are closed."""
    assert sorted(calendar.bank_holidays(2022)) == [
        date(2022, 1, 3), date(2022, 4, 15), date(2022, 4, 18), date(2022, 5, 2),
        date(2022, 6, 2), date(2022, 6, 3), date(2022, 8, 29), date(2022, 9, 19),
        date(2022, 12, 26), date(2022, 12, 27),
    ]  # fmt: skip
    assert {date(2020, 5, 8), date(2021, 12, 27), date(2021, 12, 28)} <= (
        calendar.bank_holidays(2020) | calendar.bank_holidays(2021)
    )
    assert date(2023, 5, 8) in calendar.bank_holidays(2023)


def test_the_london_clock_goes_forward_and_back() -> None:
    """Failing means that times in spring or autumn are an hour out."""
    spring = int(datetime(2026, 3, 29, 1, 0, tzinfo=UTC).timestamp())
    autumn = int(datetime(2025, 10, 26, 1, 0, tzinfo=UTC).timestamp())
    utc = np.array([spring - 1, spring, autumn - 1, autumn])
    local = calendar.utc_to_local(utc)
    assert (local - utc).tolist() == [0, 3600, 3600, 0]
    assert calendar.is_repeated_hour(utc).tolist() == [False, False, True, True]
    # The first reading of the repeated hour wins, the missing hour is read as Greenwich time.
    assert calendar.local_to_utc(np.array([autumn])).tolist() == [autumn - 3600]
    assert calendar.local_to_utc(np.array([spring + 1800])).tolist() == [spring + 1800]


def test_suppliers_invoice_every_report_of_the_truth_they_wrote(written: Written) -> None:
    """Failing means that the money of the network does not follow from its reports."""
    bought = written.exams().filter(
        (pl.col("reporter_org") == "ZZT01") & pl.col("verified_at").is_not_null()
    )
    lines = pl.read_parquet(written.truth / "invoices.parquet")
    billed = lines.filter(pl.col("service") == "outsourced_report")
    assert billed["quantity"].sum() == bought.height > 0
    dated = bought.filter(~pl.col("is_date_order_violation"))
    by_month = dated.group_by(
        "party_code", month_on=pl.col("verified_at_local").dt.date().dt.month_start()
    ).len()
    month = billed.group_by("party_code", "month_on").agg(pl.col("quantity").sum())
    both = by_month.join(month, on=["party_code", "month_on"], how="left")
    # A report dated before its exam is billed in the month in which it was really written.
    more = (both["quantity"] - both["len"].cast(pl.Int64)).sum()
    assert both["quantity"].null_count() == 0
    assert 0 <= more <= bought.height - dated.height
