"""One row per role, published file, place, quarantine rule, event or statement of governance."""

from dashboards.auth import review
from dashboards.components import steward_figures as draw
from dashboards.data import stewardship
from dashboards.page import CUSTODY, MANIFEST, RECORD, open_record

page = open_record()
told, events, period = page.custody, page.record.events, page.period
page.warn(draw.unreadable(page.record.unreadable))
page.section("Who may see what", "Role and file, as this build and these pages have them.")
page.figure(draw.access(stewardship.access(page.published)), MANIFEST)
page.figure(draw.audiences(stewardship.audiences(page.published)), MANIFEST)
page.section("Who came and what was taken", "The record of access, read back.")
page.figure(draw.who_came(review.counts(review.of_kind(events, page.kinds)), period), RECORD)
page.figure(draw.purposes(review.by_purpose(events), period), RECORD)
page.figure(draw.taken(review.taken(events), period), RECORD)
page.figure(draw.refused(review.refused(review.of_kind(events, page.kinds)), period), RECORD)
page.section("What is kept and what waits", "As the pipeline said after its last run.")
page.figure(draw.kept(told.places, told.written_at, page.since), CUSTODY)
page.figure(draw.quarantine(told.quarantine, told.written_at), CUSTODY)
page.section("Opt-outs", "What the warehouse does about the wish not to be used beyond care.")
page.figure(draw.positions(told.positions), CUSTODY)
