"""One row per row of the answer: a reader's own SQL on the published file, within limits."""

from functools import partial

from dashboards.components import schema_browser, workbench
from dashboards.data.queries import catalogue
from dashboards.page import open_desk, shown_build, typed_file
from dashboards.sqllab.desk import SCHEMAS, starters

build, desk = shown_build(), open_desk()
asked_of = {"file": build.sql_path, "provenance": typed_file(build)}
text, beside = workbench.places()
with text:
    workbench.editor(starters(), desk, partial(desk.send, **asked_of))
with beside:
    searched = schema_browser.search()
    schema_browser.show(
        catalogue.tables_in(build, SCHEMAS, searched),
        partial(catalogue.columns, build),
        catalogue.columns_with(build, SCHEMAS, searched),
        catalogue.metrics(build, searched),
    )
workbench.answer(desk, partial(desk.fetch, **asked_of))
workbench.history(desk.history)
