"""Every seed and model holds the same rows on Spark as on DuckDB, over the tiny network.

Needs what `make setup` installs: Java 17 or 21 and the environment .venv-spark, which is apart
because Great Expectations imports pyspark wherever it finds it.
"""

import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from tests.made_once import made_once
from tests.warehouse.conftest import PROJECT

PYTHON = PROJECT.parent / ".venv-spark" / "bin" / "python"
JAVAS = (17, 21)
# The last digits of a float depend on the order of adding up.
RELATIVE = 1e-9


def java_home() -> str | None:
    """Debian's folder of a Java that Spark runs on; none where the caller's own is to be taken."""
    homes = [home for n in JAVAS for home in Path("/usr/lib/jvm").glob(f"java-{n}-openjdk-*")]
    return str(homes[0]) if homes else os.environ.get("JAVA_HOME")


@pytest.fixture(scope="module")
def spark(tiny_landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the rows and the results of a build on Spark."""
    assert PYTHON.exists(), "run `make setup`: it makes .venv-spark from requirements/spark.txt"
    home = java_home()
    assert home or shutil.which("java"), "apt-get install openjdk-17-jre-headless"

    def make(folder: Path) -> None:
        script = Path(__file__).parent / "spark_build.py"
        ran = subprocess.run(
            [PYTHON, script, PROJECT, tiny_landing, folder / "spark"],
            cwd=folder,
            env=os.environ
            | ({"JAVA_HOME": home} if home else {})
            | {"SPARK_LOCAL_IP": "127.0.0.1"},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]

    return made_once(tmp_path_factory, "spark", make) / "spark"


def comparable(frame: pl.DataFrame) -> pl.DataFrame:
    """The same values in types both engines have: numbers as floats, instants without a zone."""

    def plain(name: str, dtype: pl.DataType) -> pl.Expr:
        if dtype.is_numeric():
            return pl.col(name).cast(pl.Float64)
        if isinstance(dtype, pl.Datetime):
            return pl.col(name).dt.replace_time_zone(None).dt.cast_time_unit("us")
        return pl.col(name).bin.encode("hex") if dtype == pl.Binary else pl.col(name)

    return frame.select(plain(name, dtype) for name, dtype in frame.schema.items())


def in_order(frame: pl.DataFrame) -> list[tuple]:
    """Rows sorted by all they hold, floats by their first seven digits."""

    def text(name: str, dtype: pl.DataType) -> pl.Expr:
        column = pl.col(name).round_sig_figs(7) if dtype == pl.Float64 else pl.col(name)
        return column.cast(pl.String).fill_null("~").alias(name)

    keys = frame.select(text(name, dtype) for name, dtype in frame.schema.items()).rows()
    return [
        row for _, row in sorted(zip(keys, frame.rows(), strict=True), key=lambda pair: pair[0])
    ]


def is_same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=1e-12)
    return one == other


def difference(duck: pl.DataFrame, spark: pl.DataFrame) -> str | None:
    """What differs first between the rows of one relation; order of rows and columns aside."""
    if set(duck.columns) != set(spark.columns):
        return f"columns {set(duck.columns) ^ set(spark.columns)}"
    if duck.height != spark.height:
        return f"{duck.height} rows on DuckDB, {spark.height} on Spark"
    left, right = comparable(duck), comparable(spark.select(duck.columns))
    for one, other in zip(in_order(left), in_order(right), strict=True):
        for name, mine, its in zip(duck.columns, one, other, strict=True):
            if not is_same(mine, its):
                return f"{name}: {mine!r} on DuckDB, {its!r} on Spark"
    return None


def test_every_seed_and_model_runs_on_spark(spark):
    """Failure: a model holds SQL that only DuckDB reads; the message names it."""
    results = json.loads((spark / "results.json").read_text())
    ran = ("success", "no-op")  # an exposure is a node that does nothing
    wrong = {n: r["message"] for n, r in results.items() if r["status"].lower() not in ran}
    assert not wrong


def test_every_seed_and_model_holds_the_same_rows_on_both_engines(spark, tiny):
    """Failure: a figure depends on the engine that computes it."""
    # not of the project's relations: what DuckDB notes of the changes of its kept tables
    relations = tiny.rows(
        "select schema_name as schema, table_name as name from duckdb_tables() "
        "where schema_name <> 'changes' union all "
        "select schema_name, view_name from duckdb_views() where not internal"
    )
    assert len(relations) > 150
    different = {}
    for relation in sorted(f"{row['schema']}.{row['name']}" for row in relations):
        files = sorted((spark / "rows" / relation).glob("*.parquet"))
        assert files, relation
        found = difference(tiny.frame(f"from {relation}"), pl.read_parquet(files))
        if found:
            different[relation] = found
    assert not different


def test_a_row_that_differs_is_seen():
    """Failure: the comparison of the engines would pass whatever they hold."""
    frame = pl.DataFrame({"key": ["a", "b"], "value": [1.0, 2.0]})
    assert difference(frame, frame.reverse()) is None
    assert difference(frame, frame.with_columns(value=pl.col("value") * (1 + 1e-12))) is None
    assert difference(frame, frame.with_columns(value=pl.col("value") * (1 + 1e-6)))
    assert difference(frame, frame.with_columns(key=pl.lit("a")))
    assert difference(frame, frame.head(1)) and difference(frame, frame.drop("key"))
