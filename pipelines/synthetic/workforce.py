"""Staff in post, reporting sessions and the staff survey, at team level: no person is named."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar
from pipelines.synthetic.adoption import Adoption
from pipelines.synthetic.calendar import DAY, HOUR, middle_of
from pipelines.synthetic.reference_tables import read_text_table

SESSION_HOURS = 4
# Share of a session spent on reports; the rest is calls, checks and meetings.
_REPORTING_RATE = 0.8
_INSOURCED_RATE = 0.05
_ON_CALL_RATE = 0.5
_EVENING_RATE = 0.6
_RESPONSE_RATE = 0.55
_SCORE_SPREAD = 2.2
_HOURS_PER_WTE_MONTH = 150
SURVEY_MONTH, SURVEY_PUBLISHED = 11, 3
_STUDY_MONTH, _SENDING_MINUTES = 2, 8.0
_TIMED_TASKS = [("prepare_case", "consultant_radiologist"), ("send_images", "administrative")]


def _numbers(table: str, *names: str) -> pl.DataFrame:
    return read_text_table(table).with_columns(pl.col(*names).cast(pl.Float64))


def monthly_workforce(
    exam_counts: pl.DataFrame,
    months: list[date],
    effects: Adoption,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """One row per party, month and staff group: whole-time equivalents, and hours covered.

    The establishment follows the activity of the whole period, growing 1.5 % a year: a quiet
    month closes no post. vacancy_wte is establishment_wte less in_post_wte, to the digit.
    """
    habits = _numbers(
        "staff_habits", "hours_per_wte_year", "vacancy_factor", "leavers_rate",
        "agency_cover_rate", "bank_cover_rate",
    )  # fmt: skip
    minutes = _numbers("staff_groups", "minutes_per_exam")
    posts = (
        exam_counts.join(minutes, on="modality_group")
        .group_by("party_code", "staff_group")
        .agg(hours=(pl.col("exam_count") * pl.col("minutes_per_exam")).sum() / 60 / len(months))
        .join(habits, on="staff_group")
        .with_columns(posts=pl.col("hours") * 12 / pl.col("hours_per_wte_year"))
    )
    rows = (
        posts.join(pl.DataFrame({"month_on": months}), how="cross")
        .sort("party_code", "staff_group", "month_on")
        .with_columns(years=(pl.col("month_on").dt.year() - months[len(months) // 2].year))
    )
    party, day = rows["party_code"].to_list(), middle_of(rows["month_on"].to_list())
    level = effects.level_at("vacancy_rate", party, day)
    level *= effects.drift_at("vacancy", party, day)
    noise = np.exp(0.06 * rng.standard_normal(len(rows)))
    vacancy = np.clip(level * rows["vacancy_factor"].to_numpy() * noise, 0, 0.6)
    posts = np.round(rows["posts"].to_numpy() * 1.015 ** rows["years"].to_numpy(), 3)
    in_post = np.round(posts * (1 - vacancy), 3)
    open_hours = (posts - in_post) * _HOURS_PER_WTE_MONTH
    # More people leave where more posts are open: 0.125 is the usual rate.
    leaving = rows["leavers_rate"].to_numpy() / 12 * level / 0.125
    chance = rng.gamma(4, 0.25, (3, len(rows)))
    return rows.select(
        "party_code",
        "month_on",
        "staff_group",
        pl.Series("establishment_wte", posts),
        pl.Series("in_post_wte", in_post),
        pl.Series("vacancy_wte", np.round(posts - in_post, 3)),
        pl.Series("leavers_wte", np.round(in_post * leaving * chance[0], 3)),
        agency_hours=(pl.col("agency_cover_rate") * open_hours * chance[1]).round(1),
        bank_hours=(pl.col("bank_cover_rate") * open_hours * chance[2]).round(1),
    )


def reporting_rota(
    report_counts: pl.DataFrame, effects: Adoption, rng: np.random.Generator
) -> pl.DataFrame:
    """One row per rostered reporting session of a team: local seconds of start and end.

    As many as the reports of the month take. Exams reported on the spot need none, bought
    reports neither. The hours of single reports do not follow these sessions.
    """
    minutes = _numbers("reporting_minutes", "minutes_per_report", "radiographer_rate")
    taken = (
        report_counts.join(minutes, on="modality_group")
        .group_by("reporter_org", "month_on", "team")
        .agg(
            minutes=(pl.col("report_count") * pl.col("minutes_per_report")).sum(),
            radiographer_rate=pl.col("radiographer_rate").first(),
        )
        .filter(pl.col("reporter_org").is_in(effects.parties))
        .sort("reporter_org", "month_on", "team")
    )
    wanted = taken["minutes"].to_numpy() / (SESSION_HOURS * 60 * _REPORTING_RATE)
    count = whole_number(wanted, rng)
    rows = taken[np.repeat(np.arange(len(taken)), count).tolist()]
    party, months = rows["reporter_org"].to_list(), rows["month_on"].to_list()
    middle = middle_of(months)
    outside = rng.random(len(rows)) < effects.level_at("out_of_hours_share", party, middle)
    home = rng.random(len(rows)) < effects.level_at("home_reporting_share", party, middle)
    wli = effects.level_at("wli_share", party, middle)
    u, called = rng.random(len(rows)), rng.random(len(rows)) < _ON_CALL_RATE
    pay = np.select(
        [u < _INSOURCED_RATE, u < _INSOURCED_RATE + wli, outside & called],
        ["insourced", "WLI", "on_call"],
        "plain",
    )
    evening = outside & (rng.random(len(rows)) < _EVENING_RATE)
    day = _days_within(months, outside & ~evening, rng)
    hour = np.where(evening, 20, rng.choice([9, 13], len(rows)))
    start = day * DAY + hour * HOUR
    reader = rng.random(len(rows)) < rows["radiographer_rate"].to_numpy()
    return rows.select(
        pl.col("reporter_org").alias("party_code"),
        "month_on",
        "team",
        pl.Series(
            "staff_group", np.where(reader, "reporting_radiographer", "consultant_radiologist")
        ),
        pl.Series("session_start", start),
        pl.Series("session_end", start + SESSION_HOURS * HOUR),
        pl.Series("pay_type", pay),
        pl.Series("place", np.where(home, "home", "hospital")),
    ).sort("party_code", "session_start", "team", "staff_group", "pay_type", "place")


def _days_within(months: list[date], weekend: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A day number in each month: of a weekend where asked, else a working day."""
    day, u = np.zeros(len(months), dtype=np.int64), rng.random(len(months))
    month_no = np.array([calendar.day_number(m) for m in months], dtype=np.int64)
    for month_on in sorted(set(months)):
        first = calendar.day_number(month_on)
        days = np.arange(first, calendar.day_number(calendar.month_after(month_on)))
        for is_weekend, pool in (
            (True, days[(days + 3) % 7 >= 5]),
            (False, days[calendar.is_working_day(first, len(days))]),
        ):
            mine = (month_no == first) & (weekend == is_weekend)
            day[mine] = pool[(u[mine] * len(pool)).astype(np.int64)]
    return day


def staff_survey(
    workforce: pl.DataFrame, effects: Adoption, scale: float, rng: np.random.Generator
) -> pl.DataFrame:
    """One row per party, year, staff group and question: mean score (0 to 10), respondents.

    Asked in November, known the next March (month_on). The people asked are those of the whole
    region whatever the scale: a hundredth of a team answers no survey. Only the questions with
    has_effect follow a go-live; the others are there to be found unchanged.
    """
    asked = workforce.filter(pl.col("month_on").dt.month() == SURVEY_MONTH).select(
        "party_code",
        "month_on",
        "staff_group",
        people=(pl.col("in_post_wte") / scale * 1.15).round().cast(pl.Int64),
    )
    answered = rng.binomial(asked["people"].to_numpy(), _RESPONSE_RATE)
    asked = asked.with_columns(pl.Series("respondents_count", answered, dtype=pl.Int64))
    rows = (
        asked.join(_numbers("survey_questions", "base_score"), how="cross")
        .join(_numbers("staff_habits", "survey_offset"), on="staff_group")
        .sort("party_code", "month_on", "staff_group", "question")
    )
    party, day = rows["party_code"].to_list(), middle_of(rows["month_on"].to_list())
    moved = (rows["has_effect"] == "yes").to_numpy()
    score = rows["base_score"].to_numpy() + rows["survey_offset"].to_numpy()
    score = score + np.where(moved, effects.level_at("work_life_score", party, day), 0.0)
    answers = rows["respondents_count"].to_numpy()
    score += _SCORE_SPREAD / np.sqrt(np.maximum(answers, 1)) * rng.standard_normal(len(rows))
    published = pl.date(pl.col("month_on").dt.year() + 1, SURVEY_PUBLISHED, 1)
    return rows.select(
        "party_code",
        published.alias("month_on"),
        pl.col("month_on").dt.year().alias("survey_year"),
        "staff_group",
        "question",
        pl.Series("score", np.round(np.clip(score, 0, 10), 2)),
        "respondents_count",
    ).filter(pl.col("respondents_count") > 0)


def time_studies(months: list[date], effects: Adoption, rng: np.random.Generator) -> pl.DataFrame:
    """One row per party, February, task and staff group: a small study of the minutes of a task.

    Only preparing a case follows a go-live (`worlds.csv`); sending images is there to be found
    unchanged. The sample is small on purpose, so that the spread matters.
    """
    grid = pl.DataFrame(_TIMED_TASKS, schema=["task", "staff_group"], orient="row")
    studied = pl.Series("month_on", [m for m in months if m.month == _STUDY_MONTH], dtype=pl.Date)
    rows = (
        pl.DataFrame({"party_code": effects.parties})
        .join(studied.to_frame(), how="cross")
        .join(grid, how="cross")
        .sort("party_code", "month_on", "task")
    )
    party, day = rows["party_code"].to_list(), middle_of(rows["month_on"].to_list())
    preparing = effects.level_at("preparation_minutes_per_own_case", party, day)
    mean = np.where((rows["task"] == "prepare_case").to_numpy(), preparing, _SENDING_MINUTES)
    count = rng.integers(12, 40, len(rows))
    spread = mean * 0.6
    measured = mean + spread / np.sqrt(count) * rng.standard_normal(len(rows))
    return rows.select(
        "party_code",
        "month_on",
        pl.col("month_on").dt.offset_by("9d").alias("studied_on"),
        "task",
        "staff_group",
        pl.Series("sample_count", count),
        pl.Series("mean_minutes", np.round(np.maximum(measured, 0.1), 2)),
        pl.Series("sd_minutes", np.round(spread, 2)),
    )


def whole_number(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Round up or down by chance, so that the mean is kept."""
    return np.floor(values + rng.random(len(values))).astype(np.int64)
