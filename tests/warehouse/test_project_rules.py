"""The house plan of the warehouse, read from dbt's own manifest; no database needed."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    """No single select joins more than seven relations."""
    selects = re.split(r"\bselect\b", code(model))
    return all(len(re.findall(r"\bjoin\b", part)) <= 7 for part in selects)


def names_its_grain(model: Model, manifest: Manifest) -> bool:
    name = model["name"]
    return not name.startswith("rpt_") or name.endswith(("_daily", "_weekly", "_monthly"))


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
        "data_quality",
    }


def test_every_report_is_read_by_a_dashboard_or_named_as_for_analysts(manifest, models):
    """Failure: a report is built and tested for nobody."""
    read = {n for e in manifest["exposures"].values() for n in e["depends_on"]["nodes"]}
    reports = {m["unique_id"] for m in models if m["name"].startswith("rpt_")}
    assert reports - read == set()


def registry(manifest: Manifest) -> list[dict[str, Any]]:
    return manifest["nodes"]["model.imaging.rpt_metrics_monthly"]["config"]["meta"]["metrics"]


def test_every_metric_of_the_registry_is_computed_and_the_reverse(manifest):
    """Failure: a figure has no definition, or a definition no figure."""
    sql = manifest["nodes"]["model.imaging.rpt_metrics_monthly"]["raw_code"]
    computed = set(re.findall(r"metric_rows\(\s*'\w+',\s*'([A-Z]\d\d)'", sql))
    # R01 is a percentile over exams, which no numerator and denominator can hold.
    estimated = {"R01"}
    defined = [entry["metric_id"] for entry in registry(manifest)]
    assert sorted(defined) == sorted(computed | estimated)


def test_every_metric_is_defined_in_full(manifest):
    """Failure: "how this is counted" has a gap on some page."""
    for entry in registry(manifest):
        assert set(entry) == REGISTRY_FIELDS, entry["metric_id"]
        assert entry["improvement"] in {"increase", "decrease", "neutral"}, entry["metric_id"]
        assert isinstance(entry["semi_additive"], bool), entry["metric_id"]
        assert entry["definition"].endswith("."), entry["metric_id"]


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


def test_the_words_for_conventions_of_utilisation_name_the_numbers_that_are_counted():
    """Failure: readers are told of five minutes or fifty hours, and others are counted."""
    numbers = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    with (PROJECT / "seeds" / "national" / "utilisation_conventions.csv").open() as file:
        words = {
            row["convention"]: " ".join(row[name] for name in row if name.endswith("_name"))
            for row in csv.DictReader(file)
        }
    buffers = re.findall(r"(\d+) minutes before and after", words["open_clip_used"])
    hours = re.findall(r"(\d+) hours", words["fixed_week"])
    assert {int(n) for n in buffers} == {
        numbers["buffer_before_minutes"],
        numbers["buffer_after_minutes"],
    }
    assert {int(n) for n in hours} == {numbers["fixed_week_hours"]}
    others = [w for c, w in words.items() if c not in ("open_clip_used", "fixed_week")]
    assert not [w for w in others if re.search(r"\d", w)]


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
    written = set()
    for file in (PROJECT / "macros").glob("*.sql"):
        written |= set(re.findall(r"{%-? macro (\w+)\(", file.read_text()))
    own = {name for name in written if "__" not in name}
    listed = yaml.safe_load((PROJECT / "macros/_macros.yml").read_text())["macros"]
    assert {macro["name"] for macro in listed if macro["description"]} == own


def test_every_singular_test_says_first_what_its_failure_means():
    """Failure: a red test tells its reader nothing."""
    for file in (PROJECT / "tests/singular").glob("*.sql"):
        assert file.name.startswith("assert_"), file.name
        assert file.read_text().startswith("-- Failure: "), file.name
