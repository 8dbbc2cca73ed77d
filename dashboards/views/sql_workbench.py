"""One row per row of the answer: a reader's own SQL on the published file, within limits."""

from functools import partial

from dashboards.components import schema_browser, workbench
from dashboards.data.queries import catalogue
from dashboards.page import open_desk, open_shelf, shown_build, typed_choices, typed_file
from dashboards.sqllab.desk import SCHEMAS

build, desk = shown_build(), open_desk()
asked_of = {"file": build.sql_path, "provenance": typed_file(build)}
send = partial(desk.send, **asked_of)
text, beside = workbench.places()
with text:
    workbench.editor(open_shelf(), typed_choices(build), desk, send)
with beside:
    searched = schema_browser.search()
    schema_browser.show(
        catalogue.tables_in(build, SCHEMAS, searched),
        partial(catalogue.columns, build),
        catalogue.columns_with(build, SCHEMAS, searched),
        catalogue.metrics(build, searched),
    )
workbench.answer(desk, partial(desk.fetch, **asked_of))
workbench.history(desk.history, send)
