"""Workforce, finance and operations of the synthetic network: totals tie, effects are as told."""

import hashlib
import io
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from openpyxl import load_workbook

from pipelines.network import Network
from pipelines.sources.inbox import FEED_KINDS
from pipelines.synthetic import activity, beds, downtime, finance, operations, workforce
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.calendar import DAY, HOUR, day_number, months_between
from pipelines.synthetic.dirt import DirtLedger
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import load_profile, read_text_table
from pipelines.synthetic.worlds import World

SEEDS = Path(__file__).parents[3] / "dbt_project" / "seeds"
PERIOD = Period.of()
MONTHS = months_between(PERIOD.first_on, PERIOD.end_on)
GROUPS = ("CT", "MRI", "Plain radiography", "Ultrasound")
PARTIES = ("RMC", "RBV", "R0A", "RM3", "RW6", "RWJ", "RMP", "RRF")


def effects_of(world: str) -> Adoption:
    parties = Network.load(SEEDS).programme_parties["party_code"].to_list()
    loaded = World.load(world, day_number(PERIOD.first_on))
    return Adoption.of(loaded, load_profile().go_lives, parties)


def exam_batch(count: int = 20_000, seed: int = 1) -> pl.DataFrame:
    """Invented exams over the whole period, reported by the party or the supplier."""
    rng = np.random.default_rng(seed)
    first, end = day_number(PERIOD.first_on) * DAY, PERIOD.end
    requested = np.sort(rng.integers(first, end - 5 * DAY, count))
    completed = requested + rng.integers(HOUR, DAY, count)
    party = rng.choice(PARTIES, count)
    verified = completed + rng.integers(HOUR, 3 * DAY, count)
    return pl.DataFrame(
        {
            "party_code": party,
            "site_code": [f"{p}01" for p in party],
            "patient_id": [f"H{n:07}" for n in rng.integers(0, 400, count)],
            "modality_group": rng.choice(GROUPS, count),
            "source_setting": rng.choice(["01", "03", "05"], count),
            "priority": rng.choice(["S", "U", "R"], count),
            "reporter_org": np.where(rng.random(count) < 0.2, "ZZT01", party),
            "requested": requested,
            "completed": completed,
            "verified": verified,
        }
    )


def scanner_sessions(network: Network) -> pl.DataFrame:
    """Every scanner is staffed on every day but Wednesdays; the first on all days."""
    days = np.arange(day_number(PERIOD.first_on), day_number(PERIOD.end_on))
    stations = network.scanner_register["station_name"].to_list()
    grid = pl.DataFrame({"station_name": stations}).join(pl.DataFrame({"day": days}), how="cross")
    is_open = ((pl.col("day") + 3) % 7 != 2) | (pl.col("station_name") == stations[0])
    return grid.filter(is_open).select(
        "station_name",
        session_start=pl.col("day") * DAY + 9 * HOUR,
        session_end=pl.col("day") * DAY + 17 * HOUR,
    )


def simulated(world: str = "effect") -> operations.Operations:
    exams, network = exam_batch(), Network.load(SEEDS)
    return operations.simulate_operations(
        activity.count_exams(exams),
        activity.count_reports(exams),
        beds.admissions(exams, PERIOD.end, np.random.default_rng(3)),
        downtime.scanner_downtime(scanner_sessions(network), network, PERIOD, 7),
        network,
        PERIOD,
        effects_of(world),
        0.001,
        7,
    )


@pytest.fixture(scope="module")
def found() -> operations.Operations:
    return simulated()


@pytest.fixture(scope="module")
def unchanged() -> operations.Operations:
    return simulated("null")


def test_two_batches_that_share_a_month_give_no_two_admissions_one_number():
    """Failing means that the stay of one patient replaces that of another."""
    exams = exam_batch()
    halves = [exams.gather_every(2, offset) for offset in (0, 1)]
    parts = [beds.admissions(half, PERIOD.end, np.random.default_rng(3)) for half in halves]
    found = operations.numbered_anew(pl.concat(parts))
    key = ["party_code", "admission_id"]
    assert pl.concat(parts).select(key).is_duplicated().any()
    assert not found.select(key).is_duplicated().any()
    months = [rows["admission_id"].str.slice(0, 5).to_list() for rows in (found, pl.concat(parts))]
    assert months[0] == months[1]


def test_counts_of_batches_add_up_to_the_count_of_all():
    """Failing means that a run month by month bills something else than a run at once."""
    exams = exam_batch(3_000)
    for count in (activity.count_exams, activity.count_reports):
        parts = [count(exams[:700]), count(exams[700:])]
        assert activity.add_up(parts).equals(count(exams))


def test_invoiced_reports_are_the_outsourced_reports_of_each_month(found):
    """Failing means that money and reports tell different stories."""
    exams = exam_batch()
    bought = exams.filter(
        (pl.col("reporter_org") == "ZZT01") & (pl.col("modality_group") != "Ultrasound")
    )
    reports = (
        bought.with_columns(activity.local_month(bought["verified"]))
        .group_by("party_code", "month_on")
        .agg(pl.len().cast(pl.Int64).alias("quantity"))
        .sort("party_code", "month_on")
    )
    billed = (
        found.invoices.filter(pl.col("service") == "outsourced_report")
        .group_by("party_code", "month_on")
        .agg(pl.col("quantity").sum())
        .sort("party_code", "month_on")
    )
    assert billed.equals(reports)


def test_an_invoice_line_is_quantity_times_price(found):
    """Failing means that an honest invoice looks wrong."""
    lines = found.invoices.with_columns(pl.col("unit_price_gbp", "amount_gbp").cast(pl.Float64))
    off = (lines["quantity"] * lines["unit_price_gbp"] - lines["amount_gbp"]).abs().max()
    assert off < 0.006
    assert lines.select("invoice_no", "line_no").is_duplicated().sum() == 0


def test_insourced_hours_are_those_of_the_rota(found):
    """Failing means that the rota and the invoice of the same hours differ."""
    hours = found.rota.filter(pl.col("pay_type") == "insourced").height * workforce.SESSION_HOURS
    billed = found.invoices.filter(pl.col("service") == "insourced_reporting")["quantity"].sum()
    assert billed == hours


def test_vacancy_is_establishment_less_in_post(found):
    """Failing means that posts appear from nowhere."""
    rows = found.workforce
    gap = rows["establishment_wte"] - rows["in_post_wte"] - rows["vacancy_wte"]
    assert gap.abs().max() < 1e-9
    assert rows.height == len(PARTIES) * len(MONTHS) * 5
    assert rows["vacancy_wte"].min() >= 0


def test_storage_grows_by_what_is_added_and_moves_at_the_go_live(found):
    """Failing means that the archive holds other images than were made."""
    rows = found.storage.with_columns(grown=pl.col("held_tb").diff().over("party_code"))
    later = rows.filter(pl.col("grown").is_not_null())
    assert (later["grown"] - later["added_tb"]).abs().max() < 2e-4
    moved = rows.filter((pl.col("party_code") == "RM3") & (pl.col("archive") == "shared"))
    assert moved["month_on"].min() == date(2021, 2, 1)


def test_the_local_contract_ends_a_year_after_the_archive_go_live(found):
    """Failing means that a benefit of switching off is booked at the wrong time."""
    rows = found.contract_lines.filter(pl.col("party_code") == "RM3")
    by_line = {
        line: rows.filter(pl.col("line_type") == line)["month_on"]
        for line in ("local_pacs_support", "regional_contract")
    }
    assert by_line["local_pacs_support"].max() == date(2022, 1, 1)
    assert by_line["regional_contract"].min() == date(2022, 2, 1)


EARLY, LATE = pl.col("month_on") < date(2020, 11, 1), pl.col("month_on") > date(2022, 12, 31)


def change(rows: pl.DataFrame, value: pl.Expr) -> float:
    return float(rows.filter(LATE).select(value).item()) / float(
        rows.filter(EARLY).select(value).item()
    )


def test_effects_of_go_lives_are_there_in_one_world_and_absent_in_the_other(found, unchanged):
    """Failing means that a benefit is missing, or found where none was put in."""
    many = activity.count_reports(exam_batch()).with_columns(pl.col("report_count") * 30)
    rota, same_rota = (
        workforce.reporting_rota(many, effects_of(world), np.random.default_rng(4))
        for world in ("effect", "null")
    )
    weekend = pl.from_epoch("session_start", time_unit="s").dt.weekday() > 5
    evening = pl.from_epoch("session_start", time_unit="s").dt.hour() >= 20
    vacancy = pl.col("vacancy_wte").sum() / pl.col("establishment_wte").sum()
    for rows, same, value, ratio, off in (
        (found.workforce, unchanged.workforce, vacancy, 0.095 / 0.125, 0.02),
        (rota, same_rota, (pl.col("place") == "home").mean(), 0.30 / 0.08, 0.5),
        (rota, same_rota, (weekend | evening).mean(), 0.18 / 0.24, 0.08),
        (rota, same_rota, (pl.col("pay_type") == "WLI").mean(), 0.07 / 0.12, 0.1),
    ):
        assert change(rows, value) == pytest.approx(ratio, abs=off), value
        assert change(same, value) == pytest.approx(1.0, abs=0.15), value
    answers = pl.col("respondents_count")
    score = (pl.col("score") * answers).sum() / answers.sum()
    asked = pl.col("question") == "work_life_balance"
    assert change(found.survey.filter(asked), score) > 1.05
    assert change(unchanged.survey.filter(asked), score) == pytest.approx(1.0, abs=0.03)
    for frame in (found, unchanged):
        other = frame.survey.filter(pl.col("question") == "adequate_equipment")
        assert change(other, score) == pytest.approx(1.0, abs=0.03)


def test_fewer_failures_of_image_systems_only_where_go_lives_have_an_effect(found, unchanged):
    """Failing means that the shared archive is blamed or praised for chance."""
    years_before, years_after = 31 / 12, 39 / 12

    def ratio(rows: pl.DataFrame) -> float:
        failed = rows.filter(pl.col("site_code").is_null() & ~pl.col("is_planned"))
        after, before = (failed.filter(when).height for when in (LATE, EARLY))
        return (after / years_after) / (before / years_before)

    assert ratio(found.downtime) < 0.6
    assert 0.7 < ratio(unchanged.downtime) < 1.4


def test_fewer_discs_are_sent_only_where_viewing_has_an_effect(found, unchanged):
    """Failing means that discs saved are a matter of fewer exams."""

    def discs(frame) -> float:
        sent = frame.contract_lines.filter(pl.col("line_type") == "disc")
        return change(sent, pl.col("quantity").sum())

    # Both have the same exams.
    assert discs(found) / discs(unchanged) == pytest.approx(2.0 / 9.0, abs=0.06)


def test_storage_and_contract_prices_follow_no_go_live_in_the_null_world(unchanged):
    """Failing means that a saving was put into the world that must have none."""
    for party, start in (("RW6", date(2020, 11, 1)), ("R0A", date(2022, 1, 1))):
        rows = unchanged.storage.filter(pl.col("party_code") == party)
        price = dict(rows.select("month_on", "price_gbp_per_tb_year").iter_rows())
        assert price[start] == price[date(start.year, start.month - 1 or 1, 1)]
    contract = finance.contract_lines(
        activity.count_exams(exam_batch()), MONTHS, effects_of("null"), np.random.default_rng(1)
    ).filter(pl.col("line_type").is_in(["local_pacs_support", "regional_contract"]))
    assert (
        contract.group_by("month_on")
        .agg(pl.col("unit_price_gbp").n_unique())["unit_price_gbp"]
        .max()
        == 1
    )


def test_a_late_report_keeps_only_those_in_bed_who_wait_for_it():
    """Failing means that bed days do not follow from turnaround as told."""
    exams = exam_batch().filter(pl.col("source_setting") == "01")
    late = exams.with_columns(pl.col("verified") + 2 * DAY)
    soon, slow = (beds.admissions(e, PERIOD.end, np.random.default_rng(3)) for e in (exams, late))
    waits = soon["is_waiting_for_report"]
    longer = (slow["discharged"] - soon["discharged"]).fill_null(0)
    assert longer.filter(~waits).max() == 0
    assert longer.filter(waits).mean() > DAY
    assert waits.mean() == pytest.approx(0.30, abs=0.03)
    assert (soon["delay_seconds"] >= 0).all()
    assert (soon["admitted"] < soon["discharged"].fill_null(PERIOD.end)).all()


def sessions_hit(sessions: pl.DataFrame, downtime: pl.DataFrame) -> pl.DataFrame:
    """One row per session and scanner downtime that lies in it, with lost_seconds.

    A planned downtime hits none.
    """
    return (
        sessions.select("station_name", "session_start", "session_end")
        .join_where(
            downtime.select("asset", "down_from", "down_to", "is_planned", "reason_code"),
            pl.col("station_name") == pl.col("asset"),
            pl.col("down_from") < pl.col("session_end"),
            pl.col("down_to") > pl.col("session_start"),
        )
        .with_columns(
            lost_seconds=pl.min_horizontal("session_end", "down_to")
            - pl.max_horizontal("session_start", "down_from")
        )
        .drop("asset")
        .sort("station_name", "session_start", "down_from")
    )


def test_planned_downtime_hits_no_session_and_every_hit_is_an_overlap(found):
    """Failing means that a service day is counted as lost capacity."""
    hit = sessions_hit(scanner_sessions(Network.load(SEEDS)), found.downtime)
    assert not hit["is_planned"].any()
    assert hit.height > 100
    assert hit["lost_seconds"].min() > 0
    planned = found.downtime.filter(pl.col("site_code").is_not_null() & pl.col("is_planned"))
    assert planned.height == len(Network.load(SEEDS).scanner_register) * len(MONTHS) // 3


def short_sessions(network: Network) -> pl.DataFrame:
    """One hour of each Monday: the sessions of a small scale, which chance hardly ever hits."""
    sessions = scanner_sessions(network).filter((pl.col("session_start") // DAY + 3) % 7 == 0)
    return sessions.with_columns(session_end=pl.col("session_start") + HOUR)


def test_some_scanners_fail_while_they_are_staffed_in_the_live_weeks(monkeypatch):
    """Failing means that no page of the demo shows what a failure costs."""
    network = Network.load(SEEDS)
    sessions, live = short_sessions(network), day_number(PERIOD.live_on) * DAY
    found = downtime.scanner_downtime(sessions, network, PERIOD, 7)
    hit = sessions_hit(sessions, found.filter(pl.col("down_from") >= live))
    failed = found.filter(~pl.col("is_planned") & (pl.col("down_from") >= live))
    assert 0.25 * failed.height < hit["down_from"].n_unique() < 0.9 * failed.height
    never = read_text_table("downtime_habits").with_columns(in_use_rate=pl.lit("0"))
    known = {"downtime_habits": never}
    monkeypatch.setattr(
        downtime, "read_text_table", lambda name: known.get(name, read_text_table(name))
    )
    as_drawn = downtime.scanner_downtime(sessions, network, PERIOD, 7)
    same = ["asset", "is_planned", "reason_code"]
    assert found.select(same).equals(as_drawn.select(same))
    length = (pl.col("down_to") - pl.col("down_from")).alias("length")
    assert found.select(length).equals(as_drawn.select(length))
    before = pl.col("down_from") < live - 14 * DAY
    assert found.filter(before).equals(as_drawn.filter(before))


def written(folder: Path, found: operations.Operations) -> tuple[dict, DirtLedger]:
    ledger = DirtLedger()
    files = operations.write_operations(found, Network.load(SEEDS), PERIOD, folder, ledger)
    return files, ledger


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }


def test_the_same_seed_writes_the_same_bytes_workbooks_too(tmp_path, found):
    """Failing means that a delivery cannot be repeated."""
    written(tmp_path / "a", found)
    written(tmp_path / "b", simulated())
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    books = sorted((tmp_path / "a").glob("monthly_workbook/*/*.xlsx"))
    assert len(books) == 6
    book = load_workbook(io.BytesIO(books[0].read_bytes()))
    assert book.properties.modified == datetime(2026, 1, 1)
    assert "sign_off" in book.sheetnames
    assert book["workforce"].max_row == 6


def test_the_planted_faults_are_in_the_files_and_in_the_ledger_only(tmp_path, found):
    """Failing means that a warehouse cannot be checked against what was broken."""
    _, ledger = written(tmp_path, found)
    kinds = ledger.counts()
    assert kinds["workforce"] == {"late_month": 1}
    assert kinds["outsourcing_invoices"] == {
        "charged_again": 1, "credit_note": 1, "duplicate_line": 1, "missing_code": 1,
        "wrong_month": 1,
    }  # fmt: skip
    for _, _, file, invoice in ledger.rows:
        assert invoice is None or invoice in (tmp_path / file).read_text()
    sent = pl.concat(
        pl.read_csv(path, infer_schema=False)
        for path in tmp_path.glob("outsourcing_invoices/*/*.csv")
    )
    assert sent.is_duplicated().sum() == 2
    assert found.invoices.is_duplicated().sum() == 0


def test_a_harvest_looks_into_each_of_these_folders(tmp_path, found):
    """Failing means that a feed is written and nothing reads it."""
    files, _ = written(tmp_path, found)
    assert len(files) == 10
    assert set(files) <= set(FEED_KINDS)
