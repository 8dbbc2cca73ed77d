"""One row per row of the answer: a reader's own SQL on the published file, within limits."""

from functools import partial

from dashboards.components import workbench
from dashboards.data.queries import catalogue
from dashboards.page import open_desk, shown_build, whole_file
from dashboards.sqllab.desk import SCHEMAS, starters

build, desk = shown_build(), open_desk()
workbench.editor(
    starters(), desk, partial(desk.send, file=build.sql_path, provenance=whole_file(build))
)
workbench.answer(desk)
workbench.history(desk.history)
workbench.browser(catalogue.tables_in(build, SCHEMAS), partial(catalogue.columns, build))
