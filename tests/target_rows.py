"""dim_target of any targets, ranked by the model's own SQL."""

from pathlib import Path

import duckdb
import polars as pl

PROJECT = Path(__file__).parents[1] / "dbt_project"
MODEL = PROJECT / "models" / "marts" / "core" / "dim_target.sql"
SEED = PROJECT / "seeds" / "national" / "metric_targets.csv"


def ranked(targets: pl.DataFrame) -> pl.DataFrame:
    """The targets (columns of the seed metric_targets) with their `preference`."""
    with duckdb.connect() as connection:
        connection.register("metric_targets", targets.to_arrow())
        model = MODEL.read_text().replace("{{ ref('metric_targets') }}", "metric_targets")
        return connection.sql(model).pl()


def seeded() -> pl.DataFrame:
    """dim_target as the seed has it."""
    days = {"valid_from": pl.Date, "valid_to": pl.Date}
    return ranked(pl.read_csv(SEED, schema_overrides={"target_value": pl.Float64} | days))
