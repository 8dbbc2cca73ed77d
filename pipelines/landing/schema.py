"""Contract to polars schema: what a landing file of one table looks like."""

import polars as pl

from pipelines.contracts import Contract

PHYSICAL: dict[str, pl.DataType] = {
    "VARCHAR": pl.String(),
    "BLOB": pl.Binary(),
    "BOOLEAN": pl.Boolean(),
    "SMALLINT": pl.Int16(),
    "INTEGER": pl.Int32(),
    "BIGINT": pl.Int64(),
    "DOUBLE": pl.Float64(),
    "DATE": pl.Date(),
    "TIMESTAMP": pl.Datetime("us"),
    "TIMESTAMPTZ": pl.Datetime("us", "UTC"),
}


def landing_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Column names and polars types of a landing table, in contract order."""
    return {column.name: PHYSICAL[column.physical_type] for column in contract.columns}


def shaped(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Give a frame exactly the columns of its landing table; raises on a column that is absent."""
    return frame.select(
        pl.col(name).cast(dtype) for name, dtype in landing_schema(contract).items()
    )
