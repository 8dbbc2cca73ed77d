"""A reader keeps a page with its filters, opens it again, deletes it; nobody else has it."""

import json
import re
from html import unescape
from urllib.parse import parse_qs

from conftest import PENNINE

from dashboards.auth import door
from dashboards.auth.principal import DEMO, Principal


def saved(app) -> list[tuple[str, str]]:
    """Address and text of each link, as HTML."""
    (menu,) = [h.proto.body for h in app.get("html") if "Saved views" in h.proto.body]
    return re.findall(r'<a href="([^"]*)">([^<]*)</a>', menu)


def test_a_view_is_kept_with_its_filters_and_is_the_readers_alone(open_view, home, monkeypatch):
    """Failing means that a reader loses a view, or is shown what another one looks at."""
    app = open_view("throughput", organisation=PENNINE)
    app.text_input(key="saved_view_name").input("Pennine <b> :red[x]")
    app.button(key="FormSubmitter:save_view-Save this page with its filters").click().run()
    assert not app.exception
    ((address, text),) = saved(app)
    view, _, query = unescape(address).partition("?")
    assert (view, parse_qs(query)) == ("throughput", {"organisation": [PENNINE]})
    assert text == "Pennine &lt;b&gt; :red[x]"

    mine = door.DEMO_USER
    monkeypatch.setattr(door, "DEMO_USER", Principal(DEMO, "", "somebody else"))
    assert saved(open_view("staff")) == []
    monkeypatch.setattr(door, "DEMO_USER", mine)

    # a file changed by hand names no page, or one that is not there: no link, and no error
    (path,) = (home / "dashboards" / "views").glob("*.json")
    rows = json.loads(path.read_text())
    broken = [{**rows[0], "name": str(n), "content": content}
              for n, content in enumerate([{}, {"view": "gone", "query": {}}, {"view": 1}])]  # fmt: skip
    path.write_text(json.dumps([*rows, *broken]))
    app = open_view("staff")
    assert not app.exception and len(saved(app)) == 1
    app.selectbox(key="saved_view_gone").set_value("Pennine <b> :red[x]")
    app.button(key="FormSubmitter:delete_view-Delete it").click().run()
    assert saved(app) == []
