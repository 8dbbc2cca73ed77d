"""The menu: one group of links per reader.

Streamlit's own grouped menu puts headings into its list, which screen readers stumble over.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import streamlit as st


def show(links: Iterable[tuple[str, st.Page]]) -> None:
    """Links to every page, under the reader they are made for."""
    with st.sidebar:
        for reader, pages in groupby(links, key=lambda link: link[0]):
            st.html(f'<p class="reader">{reader}</p>')
            for _, page in pages:
                st.page_link(page)
