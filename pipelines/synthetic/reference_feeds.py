"""The small feeds: rota, opening hours, go-lives, benefit register, unit costs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from pipelines.synthetic import calendar
from pipelines.synthetic.clocks import instant, wall
from pipelines.synthetic.period import Period
from pipelines.synthetic.reference_tables import read_text_table
from pipelines.synthetic.writer import write_csv

if TYPE_CHECKING:
    from pipelines.network import Network

ROTA_DAYS = 7
_STAFF = {"CT": 2, "MR": 2, "PT": 2, "DX": 1, "US": 1}
# Weekday range (1 Monday) and hours a room may be used.
_OPENING = {
    "CT": (range(1, 8), "08:00", "20:00"),
    "MR": (range(1, 7), "08:00", "20:00"),
    "DX": (range(1, 8), "08:00", "20:00"),
    "US": (range(1, 6), "08:30", "18:00"),
}


def rota_rows(sessions: pl.DataFrame) -> pl.DataFrame:
    """One row per session of a registered scanner, as the rota file writes it, with rota_on."""
    clock = "%d/%m/%Y %H:%M"
    start = pl.from_epoch("session_start", time_unit="s")
    end = pl.from_epoch("session_end", time_unit="s")
    is_scan = pl.col("dicom_modality") == "US"
    return sessions.filter(pl.col("station_name").is_not_null()).select(
        start.dt.date().alias("rota_on"),
        "station_name",
        "site_code",
        start.dt.strftime(clock).alias("session_start"),
        end.dt.strftime(clock).alias("session_end"),
        pl.when(is_scan)
        .then(pl.lit("sonographer"))
        .otherwise(pl.lit("radiographer"))
        .alias("staff_group"),
        pl.col("dicom_modality").replace_strict(_STAFF, default=1).alias("staff_count"),
        "pay_type",
    )


def write_rota(
    sessions: pl.DataFrame, network: Network, period: Period, inbox: Path
) -> dict[str, int]:
    """One file per party and week, delivered on the first day of the week it covers."""
    party_of = network.sites.select("site_code", "party_code")
    rows = rota_rows(sessions).join(party_of, on="site_code", maintain_order="left")
    written: dict[str, int] = {}
    for day in period.live_days[::ROTA_DAYS]:
        week = rows.filter(
            pl.col("rota_on").is_between(day, day + timedelta(days=ROTA_DAYS - 1))
        ).sort("rota_on", "station_name")
        for party in network.programme_parties["party_code"].to_list():
            part = week.filter(pl.col("party_code") == party).drop("rota_on", "party_code")
            file = f"rota/{day}/rota_{party}.csv"
            written[file] = write_csv(inbox / file, part)
    return written


def opening_hours(network: Network, period: Period) -> pl.DataFrame:
    """One row per scanner and weekday on which its room may be used."""
    rows = [
        (station, site, weekday, opens, closes, str(period.first_on), None)
        for station, site, modality in network.scanner_register.select(
            "station_name", "site_code", "dicom_modality"
        ).iter_rows()
        for weekdays, opens, closes in [_OPENING.get(modality, _OPENING["US"])]
        for weekday in weekdays
    ]
    names = (
        "station_name", "site_code", "weekday", "opens", "closes", "valid_from", "valid_to",
    )  # fmt: skip
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row", strict=False)


def benefit_register(scale: float) -> pl.DataFrame:
    """The register of a network of this size: what is planned for a whole region, times `scale`."""
    planned = pl.col("planned_value_gbp_per_year")
    # The other columns are told as they stand, so that a column is text unless it is reckoned with.
    scaled = (planned.cast(pl.Float64) * scale).round(2).cast(pl.String)
    return read_text_table("benefit_register").with_columns(scaled)


def write_reference_feeds(
    network: Network, period: Period, scale: float, inbox: Path
) -> dict[str, int]:
    """Opening hours, go-lives, benefit register and unit costs; returns rows by file."""
    parties = network.programme_parties["party_code"].to_list()
    tables = {
        "opening_hours": opening_hours(network, period),
        "go_lives": read_text_table("go_lives").filter(pl.col("party_code").is_in(parties)),
        "benefit_register": benefit_register(scale),
        "unit_costs": read_text_table("unit_costs"),
    }
    written: dict[str, int] = {}
    for name, frame in tables.items():
        file = f"{name}/{period.live_on}/{name}.csv"
        written[file] = write_csv(inbox / file, frame)
    return written


def session_instants(sessions: pl.DataFrame, period: Period) -> pl.DataFrame:
    """Sessions of the live weeks with UTC instants and wall clock, for the truth folder."""
    start = pl.Series(calendar.local_to_utc(sessions["session_start"].to_numpy()))
    end = pl.Series(calendar.local_to_utc(sessions["session_end"].to_numpy()))
    return (
        sessions.with_columns(start.alias("start_utc"), end.alias("end_utc"))
        .filter(
            (pl.col("start_utc") >= period.cutoff)
            & (pl.col("start_utc") < period.end)
            & pl.col("station_name").is_not_null()
        )
        .select(
            "station_name",
            "site_code",
            "dicom_modality",
            "pay_type",
            instant(pl.col("start_utc")).alias("session_start_at"),
            instant(pl.col("end_utc")).alias("session_end_at"),
            wall(pl.col("session_start")).alias("session_start_at_local"),
            wall(pl.col("session_end")).alias("session_end_at_local"),
        )
        .sort("station_name", "session_start_at")
    )
