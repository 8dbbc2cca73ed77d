"""The dbt project as assets: seeds, staging, intermediate and marts, with their tests as checks."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets

from pipelines.defs.resources import Pipeline
from pipelines.gate import GateFailure
from pipelines.journal import Entry, Journal
from pipelines.settings import Settings, environment_of_dbt
from pipelines.warehouse import manifest_path, write_stamp

PROJECT_DIR = Settings().dbt_project
project = DbtProject(project_dir=PROJECT_DIR, profiles_dir=PROJECT_DIR)
project.prepare_if_dev()


class StageTranslator(DagsterDbtTranslator):
    """Group every dbt node under the stage word of its layer."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """Seeds are sources; models are grouped by schema, which is their layer."""
        is_seed = dbt_resource_props["resource_type"] == "seed"
        return "sources" if is_seed else str(dbt_resource_props["schema"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """One team owns the warehouse."""
        return ["team:imaging-analytics"]


@dbt_assets(
    manifest=manifest_path(PROJECT_DIR),
    project=project,
    dagster_dbt_translator=StageTranslator(),
)
def warehouse_models(
    context: dg.AssetExecutionContext,
    dbt: DbtCliResource,
    pipeline: dg.ResourceParam[Pipeline],
    journal: dg.ResourceParam[Journal],
) -> Iterator[Any]:
    """Build the warehouse; a failing dbt test fails the build, and nothing is published."""
    began, settings = time.monotonic(), pipeline.settings
    settings.build_stamp.unlink(missing_ok=True)
    settings.building_note.unlink(missing_ok=True)
    if not context.is_subset:
        write_stamp(settings.building_note, pipeline.inputs_fingerprint(), pipeline.now())
    # Unit tests prove the rules, not the data: they run in the test suite, not in every build.
    command = ["build", "--exclude-resource-type", "unit_test"]
    if pipeline.full_refresh:
        command.append("--full-refresh")
    with environment_of_dbt(settings):
        call = dbt.cli(command, context=context, raise_on_error=False)
    for done, event in enumerate(call.stream(), start=1):
        journal.progress("build warehouse", done, 0)
        yield event
    found = failed_nodes(call.get_artifact("run_results.json") if call.process else {})
    pipeline.record("dbt_build", found, context.run_id)
    journal.add(Entry("build", "dbt", seconds=time.monotonic() - began))
    if found or not call.is_successful():
        raise dg.Failure("; ".join(f.message for f in found) or "dbt build failed, see its log")


def failed_nodes(run_results: Mapping[str, Any]) -> list[GateFailure]:
    """Failures of a dbt run: every model or test that did not succeed, with its message."""
    return [
        GateFailure(
            contract="dbt",
            rule=result["unique_id"],
            file_name="",
            count=int(result["failures"] or 0),
            rejects_path="logs/run.log",
            message=f"{result['unique_id']}: {result['message']}",
        )
        for result in run_results.get("results", [])
        if result["status"] in ("error", "fail", "runtime error")
    ]
