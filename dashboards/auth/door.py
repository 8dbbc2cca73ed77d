"""The way in: who a run of the script is for, on Streamlit's own login.

Every run passes here before anything is read. No provider configured: a demo user, on this machine
only. A provider configured: nobody without a known role and a sign-in that is young enough.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from dashboards.auth import target
from dashboards.auth.audit import REFUSED, SHOWN, STOPPED, NotRecorded, Recorder, Seen
from dashboards.auth.principal import DEMO, Principal, is_current, of_claims
from dashboards.settings import Settings

DEMO_USER = Principal(DEMO, "", DEMO)
PRINCIPAL, NOTED, KEPT = "auth_principal", "auth_noted", "auth_kept"
# Set by proxies: with one in front, a loopback address reaches further than this machine.
FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")


class Refused(RuntimeError):
    """Nothing may be served as things are set up; the text says what to do next."""


def has_provider() -> bool:
    """A provider is configured in the secrets. Raises Refused where the secrets cannot be read."""
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError as error:
        there = [name for name in st.get_option("secrets.files") if Path(name).exists()]
        if there:
            raise Refused(f"{', '.join(there)} cannot be read: {error}") from error
        return False


def is_loopback(address: str | None) -> bool:
    """An address that only this machine reaches; none, or a name other than localhost, is not one."""
    if address == "localhost":
        return True
    try:
        return ip_address(address or "").is_loopback
    except ValueError:
        return False


def check_demo(address: str | None, headers: Mapping[str, str]) -> None:
    """Raises Refused where a demo user would be served beyond this machine."""
    if not is_loopback(address):
        raise Refused(
            f"No sign-in is configured, and the server listens on {address or 'every address'}. "
            "Without a sign-in it serves 127.0.0.1 only: configure a provider in the section [auth] "
            "of .streamlit/secrets.toml (docs/operations.md), or set server.address to 127.0.0.1."
        )
    told = {name.lower() for name in headers}
    if found := [name for name in FORWARDED if name in told]:
        raise Refused(
            f"No sign-in is configured, and a proxy stands in front (header {found[0]}). Configure a "
            "provider in the section [auth] of .streamlit/secrets.toml (docs/operations.md)."
        )


def recorder(principal: Principal | None, audience: str = "", build_id: str = "") -> Recorder:
    """Where what this reader sees is recorded."""
    return Recorder(Settings().audit_folder, principal, audience, build_id)


def enter(view: str, now: datetime) -> Principal:
    """The reader of this run; otherwise says why not and stops the run.

    view is the page asked for: it is kept while somebody signs in.
    """
    st.session_state.pop(PRINCIPAL, None)
    try:
        if not has_provider():
            check_demo(st.get_option("server.address"), dict(st.context.headers))
            st.session_state[PRINCIPAL] = DEMO_USER
            return DEMO_USER
    except Refused as refused:
        st.title("These pages are not served", anchor=False)
        st.error(str(refused))
        st.stop()
    claims = st.user.to_dict()
    if not claims.get("is_logged_in"):
        _ask(view, "Sign in", "Sign in to see the figures of the imaging network.")
    principal = of_claims(claims)
    if not is_current(claims, hours=Settings().session_hours, now=now):
        _note(principal, Seen("expired", STOPPED, view=view), now)
        _ask(view, "Your sign-in has ended", "Sign in again to go on where you were.", leave=True)
    if principal is None:
        # The subject is recorded even where the role is not known.
        _note(Principal("none", "", str(claims.get("sub", ""))), Seen("sign_in", REFUSED), now)
        no_access("You are signed in, but your account has no role in these pages.")
    _note(principal, Seen("sign_in", SHOWN), now)
    st.session_state[PRINCIPAL] = principal
    return principal


def current() -> Principal:
    """The reader that enter() let in during this run; stops the run where there is none."""
    if PRINCIPAL not in st.session_state:
        no_access("Nobody was let in.")
    return st.session_state[PRINCIPAL]


def has_ended(now: datetime) -> bool:
    """The sign-in has come to its end since the page was shown."""
    claims: dict[str, Any] = st.user.to_dict() if has_provider() else {}
    return bool(claims) and not is_current(claims, hours=Settings().session_hours, now=now)


def no_access(why: str) -> NoReturn:
    """Only this, and the way out."""
    st.title("No access", anchor=False)
    st.markdown(f"{why} Whoever looks after access in your organisation can change that.")
    if has_provider():
        st.button("Sign out", key="no_access_out", on_click=st.logout)
    st.stop()


def show_reader(principal: Principal) -> None:
    """Who is signed in, and the way out, at the foot of the menu."""
    if principal.role == DEMO:
        return
    with st.sidebar:
        st.html(f'<p class="reader">Signed in as {principal.words}</p>')
        st.button("Sign out", key="sign_out", on_click=_leave, args=(principal,))


def kept_target(views: Collection[str]) -> tuple[str, dict[str, list[str]]] | None:
    """The page and query asked for before the sign-in, once; None where there is none."""
    if st.session_state.get(KEPT) or not has_provider():
        return None
    st.session_state[KEPT] = True
    return target.unpack(st.context.cookies.get(target.COOKIE, ""), views)


def forget_target() -> None:
    """Have the browser forget what was kept, after the page was reached."""
    if has_provider() and target.COOKIE in st.context.cookies:
        st.html(target.forget_script(), unsafe_allow_javascript=True)


def _ask(view: str, title: str, text: str, *, leave: bool = False) -> NoReturn:
    query = {name: st.query_params.get_all(name) for name in st.query_params}
    kept = target.keep_script(target.pack(view, query))
    st.html(kept, unsafe_allow_javascript=True)
    st.title(title, anchor=False)
    st.markdown(text)
    st.button("Sign in", type="primary", key="sign_in", on_click=st.login)
    if leave:
        st.button("Sign out", key="ended_out", on_click=st.logout)
    st.stop()


def _leave(principal: Principal) -> None:
    recorder(principal).add(Seen("sign_out", SHOWN), datetime.now(UTC))
    st.logout()


def _note(principal: Principal | None, seen: Seen, now: datetime) -> None:
    """Record once in a session."""
    if st.session_state.get(NOTED) == seen:
        return
    try:
        recorder(principal).add(seen, now)
    except NotRecorded as error:
        st.title("These pages are not served", anchor=False)
        st.error(str(error))
        st.stop()
    st.session_state[NOTED] = seen
