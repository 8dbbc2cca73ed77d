"""The house plan of the warehouse, read from dbt's own manifest; no database needed."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.feeds import FEEDS
from pipelines.publishing.small_numbers import SmallNumbers
from tests.warehouse.conftest import Project

PROJECT = Path(__file__).parents[2] / "dbt_project"
PREFIXES = {"staging": ("stg_",), "intermediate": ("int_",), "marts": ("dim_", "fct_", "rpt_")}
LAYERS = list(PREFIXES)
KEY_TESTS = {"unique", "unique_combination"}
RELATION = re.compile(r"\b(?:from|join)\s+[a-z_]+\.[a-z_]+", re.IGNORECASE)
CLOCK = re.compile(r"\b(?:current_date|current_timestamp|now|today|getdate|localtime)\b")
REGISTRY_FIELDS = {
    "metric_id",
    "name",
    "definition",
    "numerator",
    "denominator",
    "unit",
    "improvement",
    "clock",
    "exclusions",
    "owner",
    "source",
    "source_status",
    "semi_additive",
}
# Said of some metrics only.
REGISTRY_MARKS = {"is_percentile", "rows"}
# A list of columns may stand twice in a model; longer blocks are a macro or a list.
MOST_LINES_TWICE = 12
# sqlfluff leaves longer files out with a warning only (large_file_skip_byte_limit).
MOST_BYTES_LINTED = 20_000
Model = dict[str, Any]
Manifest = dict[str, Any]


def exceptions() -> dict[tuple[str, str], str]:
    """Agreed exceptions: (rule, model) to the reason."""
    with (Path(__file__).parent / "project_rule_exceptions.csv").open() as file:
        return {(row["rule"], row["model"]): row["reason"] for row in csv.DictReader(file)}


def layer(model: Model) -> str:
    return model["original_file_path"].split("/")[1]


def layer_of(manifest: Manifest, node_id: str) -> str:
    return layer(manifest["nodes"][node_id])


def parents(model: Model, kind: str) -> list[str]:
    return [node for node in model["depends_on"]["nodes"] if node.startswith(f"{kind}.")]


def code(model: Model) -> str:
    """The model's SQL without comments."""
    return re.sub(r"--.*", "", model["raw_code"])


def generic_tests_on(model: Model, manifest: Manifest) -> set[str]:
    return {
        node["test_metadata"]["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and node.get("attached_node") == model["unique_id"]
        and node.get("test_metadata")
    }


def reads_one_source(model: Model, manifest: Manifest) -> bool:
    is_staging = layer(model) == "staging"
    return not is_staging or (len(parents(model, "source")) == 1 and not parents(model, "model"))


def reads_no_later_layer(model: Model, manifest: Manifest) -> bool:
    mine = LAYERS.index(layer(model))
    return all(LAYERS.index(layer_of(manifest, p)) <= mine for p in parents(model, "model"))


def has_unit_test(model: Model, manifest: Manifest) -> bool:
    tested = {test["model"] for test in manifest["unit_tests"].values()}
    return layer(model) != "marts" or model["name"] in tested


def columns_described(model: Model, manifest: Manifest) -> bool:
    """Marts: every column has a type and a text; instants say UTC, wall clocks say so."""
    if layer(model) != "marts":
        return True
    columns = model["columns"].values()
    instants = [c for c in columns if c["data_type"] == "timestamp with time zone"]
    clocks = [c for c in columns if c["data_type"] == "timestamp"]
    return (
        all(c["description"] and c["data_type"] for c in columns)
        and all("UTC" in c["description"] for c in instants)
        and all("wall clock" in c["description"] for c in clocks)
    )


def joins_at_most_seven(model: Model, manifest: Manifest) -> bool:
    """No single select joins more than seven relations, that of left_join_owners among them."""
    selects = re.split(r"\bselect\b", code(model))
    return all(len(re.findall(r"\b(?:left_)?join(?:_owners)?\b", part)) <= 7 for part in selects)


def repeats_no_block(model: Model, manifest: Manifest) -> bool:
    """No block of more than MOST_LINES_TWICE lines stands twice in the SQL of a model."""
    lines = [line.strip().rstrip(",") for line in code(model).splitlines() if line.strip()]
    size = MOST_LINES_TWICE + 1
    blocks = [tuple(lines[at : at + size]) for at in range(len(lines) - size + 1)]
    return len(blocks) == len(set(blocks))


PERIODS = ("_daily", "_weekly", "_monthly", "_yearly")


def names_its_grain(model: Model, manifest: Manifest) -> bool:
    name = model["name"]
    return not name.startswith("rpt_") or name.endswith(PERIODS)


def is_owned(model: Model, manifest: Manifest) -> bool:
    meta = model["config"]["meta"]
    grouped = layer(model) != "marts" or bool(model["group"])
    return bool(meta.get("grain")) and bool(meta.get("owner")) and grouped


RULES: dict[str, Callable[[Model, Manifest], bool]] = {
    "prefix matches layer": lambda m, _: m["name"].startswith(PREFIXES[layer(m)]),
    "staging reads exactly one source and no model": reads_one_source,
    "only staging reads sources": lambda m, _: layer(m) == "staging" or not parents(m, "source"),
    "no model reads a later layer": reads_no_later_layer,
    "schema is the layer": lambda m, _: m["schema"] == layer(m),
    "description says the grain": lambda m, _: m["description"].startswith("One row per "),
    "grain and owner are stated": is_owned,
    "key is tested": lambda m, manifest: bool(generic_tests_on(m, manifest) & KEY_TESTS),
    "marts are public, the rest is not": lambda m, _: (
        (m["access"] == "public") == (layer(m) == "marts")
    ),
    "public means contract": lambda m, _: m["access"] != "public" or m["contract"]["enforced"],
    "every published column is described": columns_described,
    "has a unit test": has_unit_test,
    "report name ends in its grain": names_its_grain,
    "relations come from ref and source": lambda m, _: not RELATION.search(code(m)),
    "no star past staging": lambda m, _: layer(m) == "staging" or "select *" not in code(m),
    "at most seven joins": joins_at_most_seven,
    "no block stands twice": repeats_no_block,
    "short enough for the linter": lambda m, _: len(m["raw_code"].encode()) <= MOST_BYTES_LINTED,
    "no clock is read": lambda m, _: not CLOCK.search(code(m)),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_model_keeps_the_house_rule_or_has_an_agreed_exception(rule, models, manifest):
    """Failure: a model breaks the house plan; the message names it and the rule."""
    agreed = {model for named, model in exceptions() if named == rule}
    broken = {m["name"] for m in models if not RULES[rule](m, manifest)}
    assert broken - agreed == set(), f"{rule}: mend, or agree an exception with a reason"
    assert agreed - broken == set(), f"{rule}: exception no longer needed"


def test_every_exception_names_a_rule_and_gives_a_reason():
    """Failure: an exception excuses nothing, or nobody knows why it was made."""
    for (rule, model), reason in exceptions().items():
        assert rule in RULES, rule
        assert len(reason) > 10, model


def test_dbt_parses_the_project_without_a_warning(project, manifest):
    """Failure: deprecated or misspelt configuration, silently ignored by dbt."""
    assert project.warnings == []


def test_dashboards_stand_on_public_models_only(manifest):
    """Failure: a page depends on a table that may change without notice."""
    for exposure in manifest["exposures"].values():
        for node in exposure["depends_on"]["nodes"]:
            assert manifest["nodes"][node]["access"] == "public", (exposure["name"], node)
        assert exposure["owner"]["email"], exposure["name"]


def test_every_view_of_the_dashboards_is_an_exposure(manifest):
    """Failure: nobody sees which page breaks when a mart changes."""
    named = {e["name"] for e in manifest["exposures"].values() if e["type"] == "dashboard"}
    assert named == {
        "benefits_summary",
        "throughput",
        "waiting_times",
        "scanner_utilisation",
        "image_access",
        "data_quality",
    }


def test_every_report_is_read_by_a_dashboard_or_named_as_for_analysts(manifest, models):
    """Failure: a report is built and tested for nobody."""
    read = {n for e in manifest["exposures"].values() for n in e["depends_on"]["nodes"]}
    reports = {m["unique_id"] for m in models if m["name"].startswith("rpt_")}
    assert reports - read == set()


def test_every_mart_by_patient_group_says_how_its_small_groups_are_withheld(models):
    """Failure: a group of one patient is published as it stands in the warehouse."""
    by_group = [m for m in models if layer(m) == "marts" and "patient_group" in m["columns"]]
    assert by_group
    for model in by_group:
        spec = SmallNumbers.read(model["config"]["meta"]["small_numbers"])
        named = {spec.size, *spec.within, *spec.figures, *spec.against_least_deprived}
        assert named <= set(model["columns"]), model["name"]


def registry(manifest: Manifest) -> list[dict[str, Any]]:
    return manifest["nodes"]["model.imaging.rpt_metrics_monthly"]["config"]["meta"]["metrics"]


def test_every_metric_of_the_registry_is_computed_and_the_reverse(manifest):
    """Failure: a figure has no definition, or a definition no figure."""
    sql = manifest["nodes"]["model.imaging.rpt_metrics_monthly"]["raw_code"]
    computed = set(re.findall(r"^ +\['([A-Z]\d\d\w*)'", sql, re.MULTILINE))
    # R01 is a percentile over exams, which no numerator and denominator can hold.
    estimated = {"R01"}
    defined = [entry["metric_id"] for entry in registry(manifest)]
    assert sorted(defined) == sorted(computed | estimated)


def test_every_metric_is_defined_in_full(manifest):
    """Failure: "how this is counted" has a gap on some page."""
    for entry in registry(manifest):
        assert set(entry) - REGISTRY_MARKS == REGISTRY_FIELDS, entry["metric_id"]
        assert entry["improvement"] in {"increase", "decrease", "neutral"}, entry["metric_id"]
        assert isinstance(entry["semi_additive"], bool), entry["metric_id"]
        assert entry["definition"].endswith("."), entry["metric_id"]
        # a percentile of sums is no percentile: it has a unit of its own and is no snapshot of parts
        if entry.get("is_percentile"):
            assert entry["unit"] in {"days", "hours"}, entry["metric_id"]
            assert not entry["semi_additive"], entry["metric_id"]


def test_the_rows_of_a_metric_are_columns_of_a_published_mart(manifest):
    """Failure: nobody can list the exams or reports behind a pound."""
    named = [entry for entry in registry(manifest) if "rows" in entry]
    assert named
    for entry in named:
        rows = entry["rows"]
        assert set(rows) <= {"table", "party", "month", "where", "left_out"}, entry["metric_id"]
        model = manifest["nodes"][f"model.imaging.{rows['table']}"]
        assert {rows["party"], rows["month"], "exam_key"} <= set(model["columns"])


def test_every_target_belongs_to_a_metric_of_the_registry(manifest):
    """Failure: a target is seeded for a figure that does not exist."""
    with (PROJECT / "seeds/national/metric_targets.csv").open() as file:
        aimed = {row["metric_id"] for row in csv.DictReader(file)}
    assert aimed <= {entry["metric_id"] for entry in registry(manifest)}


def test_every_finding_of_the_comparison_names_a_metric_of_the_registry(manifest):
    """Failure: a difference between RIS and images is shown beside no figure."""
    with (PROJECT / "seeds/national/reconciliation_findings.csv").open() as file:
        touched = {row["metric_id"] for row in csv.DictReader(file)}
    assert touched <= {entry["metric_id"] for entry in registry(manifest)}


def test_every_metric_and_benefit_line_names_the_feeds_it_needs(manifest):
    """Failure: nobody can say what a trust has to send for a figure, or a feed is misspelt."""
    with (PROJECT / "seeds/national/feed_needs.csv").open() as file:
        rows = list(csv.DictReader(file))
    named = {(row["subject_kind"], row["subject_id"]): row["subject_name"] for row in rows}
    metrics = {("metric", entry["metric_id"]): entry["name"] for entry in registry(manifest)}
    assert {key: name for key, name in named.items() if key[0] == "metric"} == metrics
    assert {key[1] for key in named if key[0] == "benefit"} == {f"B{n:02d}" for n in range(1, 17)}
    # audit messages of image systems have no reader: what rests on them is said to lack evidence
    assert {row["feed_kind"] for row in rows} - set(FEEDS) <= {"image_access"}


def test_the_words_for_conventions_of_utilisation_hold_no_number_of_their_own():
    """Failure: readers are told of five minutes or fifty hours, and others are counted."""
    numbers = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    with (PROJECT / "seeds" / "national" / "utilisation_conventions.csv").open() as file:
        rows = list(csv.DictReader(file))
    words = [row[name] for row in rows for name in row if name.endswith("_name")]
    assert not [text for text in words if re.search(r"\d", text)]
    named = {name for text in words for name in re.findall(r"{(\w+)}", text)}
    model = (
        PROJECT / "models/marts/utilisation/rpt_utilisation_conventions_monthly.sql"
    ).read_text()
    assert named <= set(numbers)
    assert {name for name in named if f"'{name}'" not in model} == set()


def test_a_changed_rule_changes_the_words_that_readers_see(project, tiny_landing):
    """Failure: a page explains its figure with a number that is no longer the one counted."""
    other = {
        "changeover_gap_minutes": 71,
        "lead_minutes": 72,
        "tail_minutes": 73,
        "changeover_up_to_minutes": 74,
        "clock_correction_seconds": 75,
        "late_after_hours": 76,
    }
    changed = Project(project.target / "changed")
    outcome = changed.run(
        tiny_landing, changed.target / "warehouse.duckdb", "parse", "--vars", json.dumps(other)
    )
    assert outcome.success, outcome.exception
    nodes = json.loads((changed.target / "manifest.json").read_text())["nodes"]

    def told(model: str, column: str) -> str:
        return nodes[f"model.imaging.{model}"]["columns"][column]["description"]

    visits = told("rpt_scanner_utilisation_weekly", "occupied_minutes")
    assert all(f" {number} minutes" in visits for number in (71, 72, 73))
    for column in ("changeover_minutes", "idle_minutes"):
        assert " 74 minutes" in told("rpt_station_gaps_weekly", column)
    assert " 75 seconds" in told("rpt_device_clocks_weekly", "clock_state")
    assert " 76 hours " in told("rpt_feed_freshness", "is_late")
    metrics = nodes["model.imaging.rpt_metrics_monthly"]["config"]["meta"]["metrics"]
    use = next(metric["definition"] for metric in metrics if metric["metric_id"] == "U02")
    assert all(str(number) in use for number in (71, 72, 73))


def test_every_source_maps_to_its_landing_asset(manifest):
    """Failure: the orchestrator does not know that staging waits for the harvest."""
    for source in manifest["sources"].values():
        asset = source["config"]["meta"]["dagster"]["asset_key"]
        assert asset == ["landing", source["name"]]
        assert source["description"].startswith("One row per ")


def test_every_seed_is_described_by_its_grain(manifest):
    """Failure: a reader of a seed cannot tell what one row of it is."""
    seeds = [n for n in manifest["nodes"].values() if n["resource_type"] == "seed"]
    assert [s["name"] for s in seeds if not s["description"].startswith("One row per ")] == []


def test_every_macro_is_described():
    """Failure: SQL hides behind a name that nobody explains."""
    for folder in ("macros", "materializations"):
        written = set()
        for file in (PROJECT / folder).glob("*.sql"):
            written |= set(re.findall(r"{%-? macro (\w+)\(", file.read_text()))
        own = {name for name in written if "__" not in name}
        listed = yaml.safe_load((PROJECT / folder / f"_{folder}.yml").read_text())["macros"]
        assert {macro["name"] for macro in listed if macro["description"]} == own


def test_a_kept_model_has_rules_of_what_it_reads_and_of_nothing_else(manifest):
    """Failure: a rule names what the model no longer reads, or asks relations it cannot know."""
    named = manifest["nodes"] | manifest["sources"]

    def read(node: dict[str, Any]) -> set[str]:
        found = set()
        for name in node["depends_on"]["nodes"]:
            found.add(named[name]["name"])
            if named[name].get("config", {}).get("materialized") in ("view", "kept_view"):
                found |= read(named[name])
        return found

    wrong = []
    for node in manifest["nodes"].values():
        if rule := node["config"].get("meta", {}).get("kept"):
            known = read(node)
            asked = set(re.findall(r"{(\w+)}", json.dumps(rule["inputs"])))
            for name in (set(rule["inputs"]) - known) | (
                asked - known - {"changes", "keys", "this"}
            ):
                wrong.append(f"{node['name']}: {name}")
    assert not wrong, wrong


def test_every_singular_test_says_first_what_its_failure_means():
    """Failure: a red test tells its reader nothing."""
    for file in (PROJECT / "tests/singular").glob("*.sql"):
        assert file.name.startswith("assert_"), file.name
        assert file.read_text().startswith("-- Failure: "), file.name
