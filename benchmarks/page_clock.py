"""How long a page takes in a real browser: from a click, or the begin of navigation, to its content.

The clock runs inside the page. It starts at the click on an option (or when the address is asked
for) and ends at the last change of the page's main part that was followed by a quiet moment in
which all of this held: Streamlit's script has run since the click and is not running, nothing is
marked stale, no placeholder is left, every Plotly chart is drawn, and after a click the headings of
the figures are others than before. The quiet moment proves the end and is not counted; nor is the
painting of the last change, at most a frame.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, Page, WebSocket

from benchmarks.process_memory import cpu_seconds

QUIET_MS = 500
PATIENCE_MS = 120_000
VIEWPORT = {"width": 1440, "height": 900}
HEADINGS = "() => [...document.querySelectorAll('h2')].map(heading => heading.innerText).join('|')"
WATCH = """
(() => {
    const clock = window.imagingClock = {began: 0, changed: 0, ran: 0, parts: new Map()};
    new MutationObserver(records => {
        const now = performance.now();
        for (const {target, attributeName} of records) {
            if (attributeName === "data-test-script-state") {
                if (target.getAttribute(attributeName) === "notRunning") clock.ran = now;
                continue;
            }
            const element = target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement;
            const main = element?.closest("[data-testid=stMain]");
            if (!main) continue;
            clock.changed = now;
            clock.parts.set(element.closest("[data-testid=stElementContainer]") ?? main, now);
        }
    }).observe(document, {
        subtree: true, childList: true, attributes: true, characterData: true
    });
    document.addEventListener("click", () => {
        clock.began = performance.now();
        clock.parts.clear();
    }, true);
})();
"""
WAIT = """
async ({quiet, patience, before}) => {
    const clock = window.imagingClock;
    const until = performance.now() + patience;
    const headings = () => [...document.querySelectorAll("h2")].map(one => one.innerText).join("|");
    const lacking = () => {
        const app = document.querySelector("[data-testid=stApp]");
        if (app?.dataset.testScriptState !== "notRunning") return "the script has not ended";
        if (clock.ran <= clock.began) return "the script has not begun";
        if (document.querySelector("[data-stale=true]")) return "a part is stale";
        if (document.querySelector("[data-testid=stSkeleton]")) return "a placeholder is left";
        const charts = [...document.querySelectorAll("[data-testid=stPlotlyChart]")];
        if (!charts.every(chart => chart.querySelector(".main-svg"))) return "a chart is not drawn";
        if (!document.querySelector("h1")) return "there is no title";
        if (before !== null && headings() === before) return "the headings are those of before";
        if (performance.now() - Math.max(clock.changed, clock.ran) < quiet) return "it still changes";
        return "";
    };
    let problem = lacking();
    while (problem && performance.now() < until) {
        await new Promise(resolve => setTimeout(resolve, 25));
        problem = lacking();
    }
    const seen = [...clock.parts].filter(([part]) => {
        const box = part.getBoundingClientRect();
        return box.height && box.top < innerHeight && box.bottom > 0;
    });
    return {
        problem,
        whole: clock.changed - clock.began,
        in_view: Math.max(0, ...seen.map(([, at]) => at)) - clock.began,
        script: clock.ran - clock.began,
        charts: document.querySelectorAll("[data-testid=stPlotlyChart]").length,
        failed: document.querySelectorAll("[data-testid=stException]").length,
    };
}
"""


class PageFailed(RuntimeError):
    """A page of the benchmark shows an error or never comes to rest; the message says which."""


@dataclass(frozen=True)
class Took:
    """Milliseconds until the whole page, what stands in the window, and the script were through.

    server_cpu are milliseconds of the server's processors, in steps of 10. kilobytes came from the
    server meanwhile, before compression; charts stand on the page.
    """

    whole: float
    in_view: float
    script: float
    server_cpu: float
    kilobytes: float
    charts: int


class Visitor:
    """One reader with a browser context of their own, so with an empty cache and a new session."""

    def __init__(self, page: Page, url: str, server: int) -> None:
        """Watch what the server, a process of this id, sends to the page."""
        self._page, self._url, self._server = page, url, server
        self._begin()
        page.on("websocket", self._listen)

    def _begin(self) -> None:
        self._bytes, self._cpu = 0, cpu_seconds(self._server)

    def _listen(self, socket: WebSocket) -> None:
        def count(payload: str | bytes) -> None:
            self._bytes += len(payload)

        socket.on("framereceived", count)

    async def open(self, view: str) -> Took:
        """Load a page by its address. Raises PageFailed."""
        self._begin()
        await self._page.goto(f"{self._url}/{view}", wait_until="commit")
        return await self._settled(None)

    async def choose(self, label: str, option: str) -> Took:
        """Pick an option, found by typing it, with a click. Raises PageFailed."""
        before = await self._page.evaluate(HEADINGS)
        box = self._page.get_by_role("combobox", name=label)
        await box.click()
        await box.fill(option)
        listed = self._page.get_by_role("option", name=option, exact=True)
        await listed.wait_for()
        self._begin()
        await listed.click()
        return await self._settled(before)

    async def _settled(self, before: str | None) -> Took:
        asked = {"quiet": QUIET_MS, "patience": PATIENCE_MS, "before": before}
        found: dict[str, Any] = await self._page.evaluate(WAIT, asked)
        if found["problem"] or found["failed"]:
            raise PageFailed(f"{self._page.url}: {found['problem'] or 'it shows an exception'}")
        spent = cpu_seconds(self._server) - self._cpu
        return Took(
            found["whole"],
            found["in_view"],
            found["script"],
            spent * 1000,
            self._bytes / 1000,
            found["charts"],
        )


@asynccontextmanager
async def visitor(browser: Browser, served: tuple[str, int]) -> AsyncIterator[Visitor]:
    """A new reader of the server with this address and process id."""
    context = await browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
    try:
        await context.add_init_script(WATCH)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield Visitor(page, *served)
    finally:
        await context.close()
