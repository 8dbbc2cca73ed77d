"""One row per metric and type of go-live: its effect, how sure that is, and what is not told."""

from functools import partial

from dashboards.components import effect_figures as draw
from dashboards.data.queries import effects
from dashboards.page import current_page

TOLD, SINCE = "statistics.go_live_effects", "statistics.go_live_effects_by_month_since"
PARTIES, CHECKS = "statistics.go_live_effects_by_party", "statistics.go_live_effects_checks"

page = current_page()
chosen = (page.build, *page.measure)
measure = effects.measure(*chosen)
row = measure.row(0, named=True)
told = partial(page.figure, metrics=[row["metric_id"]])

told(draw.verdict(measure), source=TOLD)
told(draw.by_month_since(effects.by_month_since(*chosen), row), source=SINCE)
page.figure(draw.by_party(effects.by_party(*chosen), row), source=PARTIES)
page.figure(draw.checks(effects.checks(*chosen), row), source=CHECKS)
page.figure(draw.caveats(measure), source=TOLD)
page.section("All measures together", "The more is looked at, the more is found by chance.")
page.figure(draw.overview(effects.measures(page.build)), source=TOLD, filtered_by=())
