"""The page follows the reader's choice of light or dark at once, and keeps it on every page.

Streamlit 1.67 (read on 28 November 2026) recolours its own parts when the theme is changed in its
menu, but does not run the page again, so drawings would stay as they were; and it keeps the choice
under the path that was loaded, so a link to another page would lose it.
"""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

_SCRIPT = """
let asked = "";
const keep = views => {
    const loaded = new URL(performance.getEntriesByType("navigation")[0].name).pathname;
    const key = path => `stActiveTheme-${path}-v2`;
    const chosen = localStorage.getItem(key(loaded));
    const folder = loaded.replace(/[^/]*$/, "");
    if (chosen) views.forEach(view => localStorage.setItem(key(folder + view), chosen));
};
export default ({data, setTriggerValue}) => {
    const app = document.querySelector("[data-testid=stApp]");
    const look = () => {
        keep(data.views);
        const [red, green, blue] = getComputedStyle(app).backgroundColor.match(/[0-9]+/g);
        const type = (299 * red + 587 * green + 114 * blue) / 1000 < 128 ? "dark" : "light";
        // Asked once for each change: a page that cannot follow must not run for ever.
        if (type === data.shown || asked === `${data.shown} ${type}`) return;
        asked = `${data.shown} ${type}`;
        setTriggerValue("changed", type);
    };
    const watched = new MutationObserver(look);
    watched.observe(app, {attributes: true, attributeFilter: ["class"]});
    look();
    return () => watched.disconnect();
};
"""
_follower = st.components.v2.component("imaging_theme_follower", js=_SCRIPT)


def follow_theme(views: Iterable[str]) -> None:
    """Run the page again when the theme changes; once per run, below all else.

    views are the addresses of the pages on which a choice shall hold.
    """
    _follower(
        key="theme_follower",
        data={"shown": st.context.theme.type, "views": ["", *views]},
        on_changed_change=lambda: None,
    )
