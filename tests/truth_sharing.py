"""Shared images and money of the synthetic truth alone: polars only, nothing of pipelines or dbt.

Every function gives one row per month with the numerator and the denominator of the whole network.
"""

import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from tests.truth import exams

REPEAT_DAYS = {"C08": 7, "C09": 14, "C02": 28}
SMALLEST_TEAM = 11


def _local(name: str) -> pl.Expr:
    return pl.col(name).dt.convert_time_zone("Europe/London")


def _month(name: str) -> pl.Expr:
    return _local(name).dt.date().dt.month_start().alias("month")


def _performed(truth: Path) -> pl.DataFrame:
    """Exams done, with the local day and month of their start."""
    day = pl.col("started_at_local").dt.date()
    return (
        exams(truth)
        .filter(pl.col("completed_at").is_not_null())
        .with_columns(day.alias("day"), day.dt.month_start().alias("month"))
    )


def _comparable(truth: Path) -> pl.DataFrame:
    """Exams with a told code, of a hospital number that a valid NHS number came with at least once."""
    number = ["party_code", "patient_id"]
    known = exams(truth).filter(pl.col("nhs_number_state") == "valid").select(number).unique()
    is_told = pl.col("exam_code_delivered") == pl.col("exam_code")
    return _performed(truth).filter(is_told).join(known, on=number, how="semi")


def _counted(rows: pl.DataFrame, numerator: pl.Expr, denominator: pl.Expr | None) -> pl.DataFrame:
    below = pl.lit(None, pl.Float64) if denominator is None else denominator.cast(pl.Float64)
    return (
        rows.group_by("month")
        .agg(numerator=numerator.cast(pl.Float64), denominator=below.first())
        .sort("month")
    )


def repeats(truth: Path, days: int) -> pl.DataFrame:
    """Exams, and those that follow one of their kind elsewhere by so many days at most."""
    rows = _comparable(truth)
    kind = ["patient_no", "modality_group", "body_region"]
    facts = ["party_code", "day", "completed_at", "exam_code"]
    pairs = rows.join(rows.select(*kind, *facts), on=kind, suffix="_before").filter(
        (pl.col("party_code") != pl.col("party_code_before"))
        & (pl.col("completed_at") > pl.col("completed_at_before"))
        & (pl.col("day") - pl.col("day_before") <= timedelta(days=days))
        & pl.col("priority_delivered").ne_missing("P")
        & ~((pl.col("exam_code_before") == "CCHES") & (pl.col("exam_code") == "CPULA"))
    )
    parameters = json.loads((truth / "parameters.json").read_text("utf-8"))
    told_from = date.fromisoformat(parameters["first_request_on"])
    counted = _counted(rows, pl.col("exam_no").is_in(pairs["exam_no"].to_list()).sum(), pl.len())
    return counted.filter(pl.col("month") >= told_from + timedelta(days=days))


def priors_seen(truth: Path) -> pl.DataFrame:
    """Reported exams with an earlier one elsewhere, and those whose earlier images could be seen."""
    parameters = json.loads((truth / "parameters.json").read_text("utf-8"))
    live = {
        row["party_code"]: date.fromisoformat(row["go_live_on"])
        for row in parameters["go_lives"]
        if row["go_live_type"] == "archive"
    }
    rows = _comparable(truth)
    region = ["patient_no", "body_region"]
    before = rows.select(*region, "party_code", "completed_at", "exam_no", "accession_number")
    reported = pl.col("verified_at").is_not_null() & (
        pl.col("verified_at") >= pl.col("completed_at")
    )
    pairs = (
        rows.filter(reported)
        .join(before, on=region, suffix="_before")
        .filter(
            (pl.col("party_code") != pl.col("party_code_before"))
            & (pl.col("completed_at") > pl.col("completed_at_before"))
        )
        .sort("completed_at_before")
        .group_by("exam_no", maintain_order=True)
        .last()
    )
    sent = pl.read_parquet(truth / "image_transfers.parquet")
    # a file is written at the end of the month of the request; what comes later is never told
    told_until = _local("requested_at").dt.month_start().dt.offset_by("1mo")
    told_until = told_until.dt.truncate("1d").dt.convert_time_zone("UTC")
    arrived = (
        sent.filter(pl.col("received_at") < told_until)
        .group_by(exam_no_before="exam_no", party_code="to_party")
        .agg(pl.col("received_at").dt.truncate("1m").min().alias("arrived_at"))
    )
    day = pl.col("verified_at_local").dt.date()
    shared = [
        day >= pl.col(name).replace_strict(live, return_dtype=pl.Date)
        for name in ("party_code", "party_code_before")
    ]
    seen = pl.all_horizontal(shared) | (pl.col("arrived_at") <= pl.col("verified_at"))
    joined = pairs.drop("month").join(arrived, on=["exam_no_before", "party_code"], how="left")
    joined = joined.with_columns(day.dt.month_start().alias("month"))
    return _counted(joined, seen.fill_null(False).sum(), pl.len())


def transfers(truth: Path) -> pl.DataFrame:
    """Transfers asked for, for each thousand exams performed."""
    asked = pl.read_parquet(truth / "image_transfers.parquet").select(_month("requested_at"))
    done = _performed(truth).group_by("month").len("exams")
    asked = asked.group_by("month").len("asked")
    return (
        done.join(asked, on="month", how="left")
        .select(
            "month",
            numerator=pl.col("asked").fill_null(0).cast(pl.Float64),
            denominator=pl.col("exams") / 1000,
        )
        .sort("month")
    )


def meeting_cases(truth: Path) -> pl.DataFrame:
    """Patients of a meeting, and those all of whose listed exams had their images there."""
    listed = pl.read_parquet(truth / "meeting_patients.parquet").with_columns(_month("meeting_at"))
    cases = listed.group_by("month", "meeting_party", "meeting_id", "patient_no").agg(
        pl.col("is_image_available_at_meeting").all().alias("is_whole")
    )
    return _counted(cases, pl.col("is_whole").sum(), pl.len())


def outsourcing(truth: Path) -> pl.DataFrame:
    """Pounds and reports invoiced, before the faults of the live months were put in."""
    lines = pl.read_parquet(truth / "invoices.parquet").rename({"month_on": "month"})
    bought = lines.filter(pl.col("service") == "outsourced_report")
    return _counted(bought, pl.col("amount_gbp").sum(), pl.col("quantity").sum())


def _with_exams(truth: Path, bills: pl.DataFrame) -> pl.DataFrame:
    """Bills by party and month (gbp) beside the exams performed; months without an exam are left."""
    done = _performed(truth).group_by("party_code", "month").len("exams")
    return bills.join(done, on=["party_code", "month"])


def _bills(truth: Path, name: str, where: pl.Expr) -> pl.DataFrame:
    """Pounds of the lines of a party and month; 0 where it has lines and none of these."""
    lines = pl.read_parquet(truth / f"{name}.parquet").rename({"month_on": "month"})
    gbp = pl.when(where).then(pl.col("amount_gbp").cast(pl.Float64)).otherwise(0.0)
    return lines.group_by("party_code", "month").agg(gbp.sum().alias("gbp"))


_SYSTEMS = pl.col("line_type").is_in(["local_pacs_support", "regional_contract"])


def storage_held(truth: Path) -> pl.DataFrame:
    """Terabytes held."""
    lines = pl.read_parquet(truth / "storage.parquet").rename({"month_on": "month"})
    return _counted(lines, pl.col("held_tb").sum(), None)


def system_cost(truth: Path) -> pl.DataFrame:
    """Pounds of archives and image systems, and the exams performed."""
    both = _bills(truth, "storage", pl.lit(True)).join(
        _bills(truth, "contract_lines", _SYSTEMS), on=["party_code", "month"]
    )
    rows = _with_exams(truth, both)
    return _counted(rows, (pl.col("gbp") + pl.col("gbp_right")).sum(), pl.col("exams").sum())


def media_cost(truth: Path) -> pl.DataFrame:
    """Pounds of discs and couriers, for each thousand exams performed."""
    bills = _bills(truth, "contract_lines", pl.col("line_type").is_in(["disc", "courier"]))
    rows = _with_exams(truth, bills)
    return _counted(rows, pl.col("gbp").sum(), pl.col("exams").sum() / 1000)


def contract_price(truth: Path) -> pl.DataFrame:
    """Pounds of image system contracts, and the exams they are priced by."""
    lines = pl.read_parquet(truth / "contract_lines.parquet").rename({"month_on": "month"})
    return _counted(lines.filter(_SYSTEMS), pl.col("amount_gbp").sum(), pl.col("quantity").sum())


def stays(truth: Path) -> pl.DataFrame:
    """Nights of the inpatients discharged, and their number."""
    left = pl.read_parquet(truth / "admissions.parquet").filter(
        pl.col("discharged_at").is_not_null()
    )
    nights = _local("discharged_at").dt.date() - _local("admitted_at").dt.date()
    left = left.with_columns(_month("discharged_at"), nights=nights.dt.total_days())
    return _counted(left, pl.col("nights").sum(), pl.len())


def vacancies(truth: Path) -> pl.DataFrame:
    """Posts that nobody holds, and posts."""
    staff = pl.read_parquet(truth / "workforce.parquet").rename({"month_on": "month"})
    vacant = (pl.col("establishment_wte") - pl.col("in_post_wte")).clip(lower_bound=0)
    return _counted(staff, vacant.sum(), pl.col("establishment_wte").sum())


def work_life(truth: Path) -> pl.DataFrame:
    """Scores of the teams large enough to be shown, and the people who answered there."""
    asked = pl.read_parquet(truth / "survey.parquet").rename({"month_on": "month"})
    shown = asked.filter(
        (pl.col("question") == "work_life_balance") & (pl.col("respondents_count") >= SMALLEST_TEAM)
    )
    people = pl.col("respondents_count")
    return _counted(shown, (pl.col("score") * people).sum(), people.sum())


def merged_exams(truth: Path) -> dict[date, int]:
    """Exams by month whose patient first had a hospital number that was merged into another."""
    merged = pl.read_parquet(truth / "patient_merges.parquet")["exam_no"].unique()
    rows = _performed(truth).filter(pl.col("exam_no").is_in(merged.to_list()))
    return dict(rows.group_by("month").len().iter_rows())
