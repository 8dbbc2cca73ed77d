"""The dashboards: pages grouped by reader. Start with `streamlit run dashboards/app.py`."""

from datetime import UTC, datetime

import streamlit as st

from dashboards import saved_views
from dashboards.auth import door, purpose
from dashboards.components import appearance, menu, purpose_form, theme
from dashboards.contents import ENTRIES, Entry
from dashboards.page import follow_new_builds, prepare
from dashboards.settings import Settings


def page_of(entry: Entry) -> st.Page:
    """The page of an entry, at /<view>."""
    return st.Page(f"views/{entry.view}.py", title=entry.title, icon=entry.icon)


st.set_page_config(
    page_title="Imaging network",
    page_icon=":material/radiology:",
    layout="wide",
    # Without an entry of its own Streamlit hides the menu, and with it the choice of light or dark.
    menu_items={"About": "The figures of an imaging network, from its published files."},
)
theme.apply_styles()

pages = {entry: page_of(entry) for entry in ENTRIES}
# The first page again, for the bare address: Streamlit serves its default page only there.
start = st.Page(
    f"views/{ENTRIES[0].view}.py", title=ENTRIES[0].title, url_path="start", default=True
)
chosen = st.navigation([start, *pages.values()], position="hidden")
asked = next((entry for entry, page in pages.items() if page == chosen), ENTRIES[0])
reader = door.enter(asked.view, datetime.now(UTC))
if chosen == start and (kept := door.kept_target([entry.view for entry in ENTRIES])):
    wanted = next(page for entry, page in pages.items() if entry.view == kept[0])
    st.switch_page(wanted, query_params=kept[1])
door.forget_target()
menu.show([(entry.reader, page) for entry, page in pages.items() if entry.is_open_to(reader)])
with st.sidebar:
    appearance.follow_theme(["start", *(entry.view for entry in ENTRIES)])
purpose.begin(reader, Settings().download_purpose)
purpose_form.at_foot_of_menu()
door.show_reader(reader)
follow_new_builds()
# The filters are made here and not in the views: only then does Streamlit keep them in the
# address from page to page, and restore them on Back.
prepare(asked)
saved_views.show([entry.view for entry in ENTRIES if entry.is_open_to(reader)], asked.view)
chosen.run()
