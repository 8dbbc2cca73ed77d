"""Run in the environment .venv-spark: build the project on Spark and write every table and view.

`python spark_build.py PROJECT LANDING OUT` writes OUT/rows/<schema>.<name>/*.parquet and
OUT/results.json, the status and message of every node. One Spark session serves it all.
"""

import json
import os
import sys
from pathlib import Path

from dbt.cli.main import dbtRunner
from pyspark.sql import SparkSession

SCHEMAS = ("seeds", "staging", "intermediate", "marts")


def session(out: Path) -> SparkSession:
    """A session of two threads with its catalogue in memory; dbt takes it as its own."""
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
        # a world of a few hundred rows: one task per step, planned once, its code compiled quickly
        "spark.sql.adaptive.enabled": "false",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(out / "warehouse"),
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    return spark


def main(project: Path, landing: Path, out: Path) -> None:
    """Build seeds and models, then write what each of them holds."""
    out.mkdir(parents=True, exist_ok=True)
    os.environ["IMAGING_LANDING"] = str(landing)
    os.environ["IMAGING_WAREHOUSE"] = "unused"
    os.environ["IMAGING_SPARK_WAREHOUSE"] = str(out / "warehouse")
    os.environ["IMAGING_SPARK_PARTITIONS"] = "1"
    spark = session(out)
    folders = {
        "--project-dir": project,
        "--profiles-dir": project,
        "--target-path": out / "target",
        "--log-path": out / "target",
    }
    without = ["--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]
    options = [str(word) for pair in folders.items() for word in pair]
    outcome = dbtRunner().invoke(["build", "--target", "spark", "--quiet", *without, *options])
    if outcome.exception is not None:
        raise outcome.exception
    results = {
        r.node.name: {"status": str(r.status), "message": r.message} for r in outcome.result.results
    }
    for schema in SCHEMAS:
        for row in spark.sql(f"show tables in {schema}").collect():
            name = f"{schema}.{row.tableName}"
            spark.table(name).coalesce(1).write.parquet(str(out / "rows" / name))
    (out / "results.json").write_text(json.dumps(results))
    spark.stop()


if __name__ == "__main__":
    main(*(Path(word).resolve() for word in sys.argv[1:4]))
