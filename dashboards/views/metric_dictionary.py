"""One row per metric, table or column of the published file, as the registry describes it."""

from functools import partial

from dashboards.components import dictionary
from dashboards.data.queries import catalogue
from dashboards.page import shown_build

build = shown_build()
search = dictionary.search()
dictionary.metrics(catalogue.metrics(build, search), catalogue.all_targets(build))
dictionary.tables(catalogue.tables(build, search), partial(catalogue.columns, build))
