"""The SQL workbench as its reader meets it: type, run, read, take away."""

import json
import time
from datetime import date

import polars as pl
import pyarrow.parquet as pq
import pytest

from dashboards.components import downloads, result_chart
from dashboards.sqllab import saved, statement
from dashboards.sqllab.saved import NotSaved, Parameter, SavedQuery, Shelf, starters


def run(app, sql: str):
    """Type a statement, run it, and come back when the page has the answer."""
    app.text_area(key="workbench_sql").set_value(sql).run()
    return wait(app.button(key="workbench_run").click().run())


def wait(app):
    """Come back when the page has the answer."""
    end = time.monotonic() + 30
    while any(button.key == "workbench_cancel" for button in app.button) and time.monotonic() < end:
        time.sleep(0.2)
        app.run()
    return app


def told(app) -> str:
    return "\n".join(
        str(block.value) for block in [*app.markdown, *app.warning, *app.caption, *app.code]
    )


def test_rows_stand_on_the_page_with_how_long_they_took_and_their_build(open_view):
    """Failing means that an analyst gets no answer, or one of a build nobody names."""
    app = run(
        open_view("sql_workbench"), "select metric_id from catalogue.metrics order by 1 limit 3"
    )
    assert not app.exception
    assert "3 rows in" in told(app)
    assert "Build: 20260401T060000Z" in told(app)
    answer = next(table for table in app.dataframe if table.proto.alt.startswith("Answer"))
    assert answer.value.shape == (3, 1)


def test_a_refusal_names_what_is_in_the_way_and_stays_in_the_history(open_view):
    """Failing means that a reader is left with an error, and loses what was typed."""
    app = run(open_view("sql_workbench"), "select * from read_csv('/etc/passwd')")
    assert not app.exception
    assert "read_csv" in told(app)
    app.text_area(key="workbench_sql").set_value("").run()
    app.button(key="workbench_back_0").click().run()
    assert app.text_area(key="workbench_sql").value == "select * from read_csv('/etc/passwd')"


def test_a_query_to_begin_with_and_a_table_are_put_into_the_text(open_view):
    """Failing means that a newcomer must know the tables by heart."""
    app = open_view("sql_workbench")
    query = starters()[0]
    app.selectbox(key="workbench_starter").select(query.name).run()
    assert app.text_area(key="workbench_sql").value == query.sql
    app.button(key="workbench_first").click().run()
    assert app.text_area(key="workbench_sql").value.startswith("select *\nfrom marts.")


def test_lists_and_structs_can_be_taken_away(tmp_path):
    """Failing means that a button fails on an answer which the page shows."""
    frame = pl.DataFrame({"ids": [["a", "b"], None], "both": [{"x": 1}, {"x": 2}], "n": [1, 2]})
    assert downloads.flat(frame)["ids"].to_list() == ["['a', 'b']", None]
    assert downloads.csv_bytes(frame, ["head"]).startswith(b"# head\nids,both,n\n")
    assert downloads.xlsx_bytes(frame, ["head"])
    odd = pl.DataFrame({"bytes": [b"\x01\xff", None], "text": ["a\x01b", "c"]})
    assert downloads.flat(odd)["bytes"].to_list() == ["01ff", None]
    assert downloads.csv_bytes(odd, []).startswith(b"bytes,text\n01ff")
    assert downloads.xlsx_bytes(odd, ["SQL: select '\x01'"])
    file = tmp_path / "answer.parquet"
    file.write_bytes(downloads.parquet_bytes(frame, ["SQL workbench", "SQL: from metrics"]))
    assert pl.read_parquet(file).equals(frame)
    assert pq.read_metadata(file).metadata[b"about"] == b"SQL workbench\nSQL: from metrics"


def test_a_column_goes_where_a_reader_would_have_typed_it():
    """Failing means that a click spoils the statement it was to help with."""
    source = "marts.dim_party"
    assert statement.with_column("", "party_code", source) == f"select party_code\nfrom {source}"
    star = f"select *\nfrom {source}\nlimit 100"
    one = statement.with_column(star, "party_code", source)
    assert one == f"select party_code\nfrom {source}\nlimit 100"
    two = statement.with_column(one, "short_name", source)
    assert two == f"select party_code, short_name\nfrom {source}\nlimit 100"
    first = statement.with_column(f"from {source}", "party_code", source)
    assert first == f"from {source}\nselect party_code"
    assert statement.with_column(first, "a", source).endswith("select party_code, a")
    assert statement.with_source("", source) == f"from {source}"
    assert statement.with_source("select 1 from", source) == f"select 1 from {source}"


def test_what_can_be_asked_is_found_by_its_description_and_put_in(open_view):
    """Failing means that a newcomer must know tables, columns and metrics by heart."""
    app = open_view("sql_workbench")
    app.text_input(key="browser_search").set_value("reported").run()
    assert not app.exception
    app.button(key="browser_put_metric").click().run()
    assert app.text_area(key="workbench_sql").value.startswith("from metric('R")
    app.text_area(key="workbench_sql").set_value("").run()
    table = app.selectbox(key="browser_table").value
    column = app.get("button_group")[0].options[0]
    app.get("button_group")[0].set_value(column).run()
    assert app.text_area(key="workbench_sql").value == f"select {column}\nfrom {table}"


OF_A_TRUST = """
select period_start_on, value
from marts.rpt_metrics_monthly
where
    metric_id = 'T01' and org_level = 'trust' and org_code = $trust and modality_group = 'All'
    and period_start_on between $from_month and $to_month
"""
ROWS = pl.DataFrame(
    {
        "trust_code": ["RMC", "RMC", "RM3", "RM3"],
        "period_start": [date(2026, 2, 1), date(2026, 1, 1), date(2026, 1, 1), date(2026, 2, 1)],
        "value": [2.0, 1.0, None, 4.0],
    }
)


def test_a_drawing_holds_the_rows_of_the_answer_and_adds_nothing_up():
    """Failing means that a drawing tells a number which no row holds."""
    figure = result_chart.draw(ROWS, "Line", "period_start", "value", "trust_code")
    assert [(line.name, list(line.y)) for line in figure.data] == [
        ("RMC", [1.0, 2.0]),
        ("RM3", [None, 4.0]),
    ]
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol
    assert "bars are not added up" in result_chart.refusal(ROWS, "Bars", "period_start", "")
    assert not result_chart.refusal(ROWS, "Bars", "period_start", "trust_code")
    many = pl.DataFrame({"n": range(13), "name": [str(n) for n in range(13)]})
    assert "13 values" in result_chart.refusal(many, "Points", "n", "name")
    assert "from 2026-01-01 to 2026-02-01" in result_chart.description(
        ROWS, "Line", "period_start", "value", "trust_code"
    )


def test_an_answer_says_its_limits_and_all_its_rows_can_be_fetched_for_a_file(open_view, home):
    """Failing means that a file holds the first rows only and nobody was told."""
    app = run(open_view("sql_workbench"), "select range as n, 2 as two from range(10001)")
    assert "The first 10,000 rows of more" in told(app)
    assert "15 s, 1,024 MB of memory, 10,000 rows and 32 MB" in told(app)
    assert "Small numbers: none are hidden in this file" in told(app)
    app.checkbox(key="workbench_draws").check().run()
    assert len(app.get("plotly_chart")) == 1
    wait(app.button(key="workbench_fetch").click().run())
    assert not app.exception
    assert "hold more than is shown: 10,001 rows in" in told(app)
    lines = "".join(path.read_text() for path in (home / "dashboards" / "audit").iterdir())
    rows = [told["rows"] for told in map(json.loads, lines.splitlines()) if told["what"] == "sql"]
    assert rows == [10_000, 10_001]


def test_values_are_asked_for_by_kind_and_bound(open_view):
    """Failing means that a reader edits SQL to ask for another trust, or that a value is run as SQL."""
    app = open_view("sql_workbench")
    app.text_area(key="workbench_sql").set_value(OF_A_TRUST).run()
    app.selectbox(key="workbench_value_trust_trust").select("RMC").run()
    wait(app.button(key="workbench_run").click().run())
    assert not app.exception
    assert "12 rows, the whole answer" in told(app)
    assert "trust: RMC" in told(app)
    odd = "'; drop table x --"
    app = run(app, "select $said as said, $said = '1' as is_one")
    app.text_input(key="workbench_value_text_said").set_value(odd).run()
    wait(app.button(key="workbench_run").click().run())
    answer = next(table for table in app.dataframe if table.proto.alt.startswith("Answer"))
    assert answer.value.iloc[0].tolist() == [odd, False]
    app.text_area(key="workbench_sql").set_value("").run()
    wait(app.button(key="workbench_again_0").click().run())
    assert app.text_input(key="workbench_value_text_said").value == odd


def test_a_query_is_kept_with_its_values_and_comes_back(open_view, home):
    """Failing means that what an analyst worked out is gone with the session."""
    app = open_view("sql_workbench")
    app.text_area(key="workbench_sql").set_value("select $least").run()
    app.selectbox(key="workbench_kind_least").select("number").run()
    app.number_input(key="workbench_value_number_least").set_value(5).run()
    app.text_input(key="workbench_name").set_value("../a name").run()
    app.button(key="workbench_save").click().run()
    assert [block.value for block in app.info] == ["Saved as ../a name."]
    kept = Shelf(home / "dashboards" / "queries", "demo", "demo").own()
    assert [(q.name, q.sql, q.parameters) for q in kept] == [
        ("../a name", "select $least", (Parameter("least", "number", "5"),))
    ]
    again = open_view("sql_workbench")
    again.selectbox(key="workbench_starter").select("Mine: ../a name").run()
    assert again.number_input(key="workbench_value_number_least").value == 5
    again.button(key="workbench_delete").click().run()
    assert not Shelf(home / "dashboards" / "queries", "demo", "demo").own()
    (record,) = (home / "dashboards" / "audit").glob("*.jsonl")
    lines = [json.loads(text) for text in record.read_text().splitlines()]
    told = [(line["outcome"], line["sql"]) for line in lines if line["what"] == "query"]
    assert told == [("kept", "select $least"), ("deleted", "select $least")]


def test_a_query_that_cannot_be_recorded_is_not_kept(tmp_path):
    """Failing means that a text is shared and nobody can tell who did it."""

    def broken(outcome, sql):
        raise NotSaved("no record")

    shelf = Shelf(tmp_path, "trust RMC", "a", broken)
    with pytest.raises(NotSaved, match="no record"):
        shelf.save(SavedQuery("mine", "select 1", is_shared=True))
    assert not shelf.own()


def test_a_saved_query_is_seen_by_its_role_where_shared_and_by_nobody_else(tmp_path):
    """Failing means that one reader's text is shown to another who may not see it."""
    mine = Shelf(tmp_path, "trust RMC", "../../a|b")
    mine.save(SavedQuery("own", "select 1"))
    mine.save(SavedQuery("for all", "select 2", is_shared=True))
    assert [query.name for query in mine.own()] == ["for all", "own"]
    assert not mine.shared()
    colleague, other = Shelf(tmp_path, "trust RMC", "c"), Shelf(tmp_path, "trust RM3", "c")
    assert [(query.name, query.is_own) for query in colleague.shared()] == [("for all", False)]
    assert not other.shared() + other.own()
    colleague.delete("for all")
    assert colleague.shared()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    files[0].write_text("{")
    assert len(mine.own()) == 1
    with pytest.raises(NotSaved, match="characters"):
        mine.save(SavedQuery("long", "x" * 100_001))
    with pytest.raises(NotSaved, match="name"):
        mine.save(SavedQuery(" ", "select 1"))


def test_what_looks_like_a_parameter_in_a_text_is_none():
    """Failing means that a reader is asked for a value that the statement does not take."""
    sql = """select '$a', "$b", $C, $c -- $d
    /* $e */ , $$ $f $$, $x$ $g $x$, $from_month"""
    assert statement.parameter_names(sql) == ["C", "from_month"]
    kinds = [saved.guessed_kind(name) for name in ("from_month", "trust", "since_on", "x")]
    assert kinds == ["month", "trust", "date", "text"]
