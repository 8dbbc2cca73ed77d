"""Source files to published dashboards: what a run leaves, and what a second run leaves alone."""

import hashlib
import json
import subprocess
import tomllib
from functools import partial

import duckdb
import jsonschema
import polars as pl

from pipelines.settings import PROJECT_ROOT


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_demo_publishes_what_its_manifest_says(demo):
    """Readers trust the manifest: file, checksum, and the schema of the manifest itself."""
    manifest = demo.manifest()
    schema = PROJECT_ROOT / "data_contracts" / "published" / "manifest.schema.json"
    jsonschema.validate(manifest, json.loads(schema.read_text()))
    for audience in manifest["audiences"].values():
        assert digest(demo.published / audience["file"]) == audience["sha256"]
    assert manifest["gate"]["passed"] is True


def test_status_tells_build_freshness_rows_and_gate(demo):
    """An operator sees the state without opening a file."""
    status = json.loads(demo.imaging("status", "--json").stdout)
    assert status["build_id"] == demo.manifest()["build_id"]
    assert status["tables"]["marts.fct_exam"] > 3000
    assert status["gate"]["passed"] is True
    feeds = {row["feed_id"] for row in status["as_at"]}
    assert {"ris_extract_RMC", "hl7_RMC", "dicom_RMC", "rota_RMC"} <= feeds


def test_a_second_run_changes_nothing(demo):
    """Running again must be harmless: same manifest, same file, same landing."""
    before = (demo.manifest(), digest(demo.published_file()))
    landed = sorted(p.name for p in (demo.path / "landing").rglob("*.parquet"))
    again = demo.imaging("run")
    assert again.returncode == 0, again.stderr
    assert "nothing new" in again.stdout
    assert (demo.manifest(), digest(demo.published_file())) == before
    assert sorted(p.name for p in (demo.path / "landing").rglob("*.parquet")) == landed


def test_no_identity_reaches_the_disk_outside_the_inbox(demo, tmp_path):
    """A name or number in landing, warehouse or published file is a breach."""
    truth = pl.read_csv(
        next((demo.path / "inbox" / "ris_extract").rglob("ris_extract_RMC.csv")), infer_schema=False
    ).head(400)
    identities = [
        value
        for column in ("nhs_number", "accession_number", "patient_id", "study_instance_uid")
        for value in truth[column].drop_nulls()
        if len(value) > 6
    ]
    wanted = tmp_path / "identities"
    wanted.write_text("\n".join(identities))
    # grep looks for all of them in one pass over the bytes.
    look = ["grep", "-raFl", "-f", wanted]
    run = partial(subprocess.run, capture_output=True, text=True, env={"LC_ALL": "C"})
    kept = run([*look, "--exclude-dir=inbox", "--exclude-dir=truth", demo.path])
    assert (kept.returncode, kept.stdout, kept.stderr) == (1, "", "")
    delivered = run([*look, demo.path / "inbox" / "ris_extract"])
    assert "ris_extract_RMC.csv" in delivered.stdout, "the search finds what is there"


def test_published_tables_hold_no_staff_key(demo):
    """No staff key leaves the warehouse."""
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        columns = connection.execute(
            "select column_name from duckdb_columns() where database_name = current_database()"
        ).fetchall()
    banned = {"actor_id", "requester_id", "reporter_id", "radiographer_id", "reporter_key"}
    assert not banned & {name for (name,) in columns}


def test_the_file_of_the_board_tells_no_small_count_and_no_exam(demo):
    """Failing means that a real build, unlike an invented one, shows a board a small count."""
    rules = tomllib.loads((PROJECT_ROOT / "pipelines/publishing/disclosure.toml").read_text())
    told = demo.manifest()["audiences"]["network"]
    assert told["suppressed"] and "1 to 4" in told["rule"]
    with duckdb.connect(str(demo.published / told["file"]), read_only=True) as connection:
        names = connection.execute("select table_name from duckdb_tables()").fetchall()
        assert not [name for (name,) in names if name.startswith("fct_")]
        for table, rule in rules["counts"].items():
            exempt = [
                f"{column} not in {tuple(values)}"
                for column, values in rule.get("exempt", {}).items()
            ]
            small = " or ".join(f"abs({count}) between 0.5 and 4.9" for count in rule["counts"])
            where = " and ".join([*exempt, f"({small})"])
            found = connection.execute(f"select count(*) from {table} where {where}").fetchall()
            assert found == [(0,)], table


def test_an_analyst_asks_the_published_file_by_name(demo):
    """Failing means that the file lacks what the guide promises, or tells another number by it."""
    with duckdb.connect(str(demo.published_file()), read_only=True) as connection:
        differing = connection.execute(
            "select count(*) from ("
            "select metric_id, org_level, org_code, modality_group, period_start_on, numerator, "
            "denominator, value from metric_months where metric_id <> 'R01' "
            "except all select * from marts.rpt_metrics_monthly)"
        ).fetchall()
        assert differing == [(0,)]
        yearly, parts = (
            connection.execute(query).fetchall()
            for query in (
                "select period_start, numerator, denominator from metric('R06', "
                "grain := 'financial_year', by := 'network') order by all",
                "select date_trunc('year', period_start_on - interval 3 month) + interval 3 month, "
                "sum(numerator), sum(denominator) from marts.rpt_metrics_monthly "
                "where metric_id = 'R06' and org_level = 'network' and modality_group = 'All' "
                "group by 1 order by all",
            )
        )
        assert [row[1:] for row in yearly] == [row[1:] for row in parts] != []
        bare = connection.execute(
            "select table_name, column_name from duckdb_columns() "
            "where not internal and comment is null"
        ).fetchall()
        assert bare == []


def test_rollback_serves_the_build_before(demo, tmp_path):
    """A wrong publication is taken back with one command."""
    home = demo.copy(tmp_path / "home")
    first = home.manifest()["build_id"]
    stamp = json.loads((home.path / "build.json").read_text())
    stamp["inputs_fingerprint"] = "0" * 64
    (home.path / "build.json").write_text(json.dumps(stamp))
    assert home.imaging("publish").returncode == 0
    assert home.manifest()["build_id"] != first
    back = home.imaging("publish", "--rollback")
    assert back.returncode == 0, back.stderr
    assert home.manifest()["build_id"] == first
    with duckdb.connect(str(home.published_file()), read_only=True) as connection:
        for table in ("marts.fct_exam", "marts.rpt_metrics_monthly"):
            assert connection.execute(f"select count(*) from {table}").fetchall()[0][0] > 0
