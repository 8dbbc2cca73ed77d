"""What a realised pound of the benefit ledger was made of, from a published file."""

from datetime import date
from typing import Any

import duckdb

Section = tuple[str, list[tuple[str, str]]]
# How it is made: docs/benefit_evidence.md.
INTERVAL = "95 % interval of this month"


def benefit_trace(
    connection: duckdb.DuckDBPyConnection, line: str, party: str | None, month: date | None
) -> list[Section]:
    """Sections of name and text about one line; of a party and month, or the last realised one.

    `line` is in the ledger of the open published file and `party`, if given, a party of it. A line
    without a realised value is told with its reason. `month` is the first day.
    """
    told = _one(connection, "select * from statistics.benefit_ledger where benefit_id = ?", [line])
    assert told is not None, f"{line} is not in the ledger"
    row = _one(
        connection,
        "select * from statistics.realised_benefits "
        "where benefit_id = $line and ($party is null or party_code = $party) "
        "and ($month is null or month_on = $month) "
        "order by realised_gbp is null, month_on desc, party_code limit 1",
        {"line": line, "party": party, "month": month},
    )
    sections = [_line(told), _register(told)]
    if row is None:
        asked = f" of {party}" if party else ""
        asked += f" in {month:%Y-%m}" if month else ""
        sections.insert(1, ("Month", [("realised", f"no month{asked} after a go-live")]))
        return [*sections, _feeds(connection, told["measure_metric_id"], party)]
    return [
        sections[0],
        _pounds(row),
        _effect(connection, row),
        _feeds(connection, row["measure_metric_id"], row["party_code"]),
        _rows(connection, row),
        sections[1],
    ]


def _one(connection: duckdb.DuckDBPyConnection, query: str, values: Any) -> dict[str, Any] | None:
    found = connection.execute(query, values)
    names = [name for name, *_ in found.description or []]
    row = found.fetchone()
    return None if row is None else dict(zip(names, row, strict=True))


def _number(value: float | None, *, digits: int = 6) -> str:
    return "empty" if value is None else f"{value:,.{digits}g}"


def _pound(value: float | None) -> str:
    return "empty" if value is None else f"GBP {value:,.2f}"


def _span(row: dict[str, Any]) -> str:
    if row["realised_low_gbp"] is None:
        return "none"
    return f"{_pound(row['realised_low_gbp'])} to {_pound(row['realised_high_gbp'])}"


def _line(told: dict[str, Any]) -> Section:
    realised = "realised_to_date_gbp"
    counts = "yes" if told["is_counted"] else f"no: {told['shadowed_by']} counts in its place"
    rows = [
        ("promise", f"{told['promise']} (owner: {told['owner_role']})"),
        ("class", f"{told['benefit_class']}; never added to another class"),
        ("planned to date", _pound(told["planned_to_date_gbp"])),
        ("after optimism", _pound(told["planned_adjusted_to_date_gbp"])),
        ("realised to date", told["empty_because"] or _pound(told[realised])),
        ("95 % interval", _span(told)),
        ("evidence", told["evidence"]),
        ("counted", counts),
    ]
    return f"{told['benefit_id']} {told['title']}", rows


def _pounds(row: dict[str, Any]) -> Section:
    value = (
        f"{_pound(row['unit_value_gbp'])} in prices of {row['price_year']} "
        f"({row['assumption_id'] or 'no assumption'}, {row['value_source_status'] or 'no status'})"
    )
    rows = [
        ("realised", row["empty_because"] or _pound(row["realised_gbp"])),
        (INTERVAL, _span(row)),
        ("planned, forecast", f"{_pound(row['planned_gbp'])}, {_pound(row['forecast_gbp'])}"),
        ("= attributed units", _number(row["attributed_units"])),
        ("x unit value", value),
        ("x price factor", _number(row["price_factor"])),
        ("attributed units", "effect x units of effect"),
        ("units of effect", f"{_number(row['units_of_effect'])} (volume x units x attribution)"),
        ("volume", f"{_number(row['volume'])}, the denominator of {row['measure_metric_id']}"),
    ]
    return f"Month {row['month_on']:%Y-%m} of {row['party_code']}", rows


def _effect(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> Section:
    key = [row["measure_metric_id"], row["go_live_type"]]
    told = _one(
        connection,
        "select * from statistics.go_live_effects where metric_id = ? and go_live_type = ?",
        key,
    )
    month = _one(
        connection,
        "select value, counterfactual from statistics.go_live_effects_monthly "
        "where metric_id = ? and go_live_type = ? and party_code = ? and month_on = ?",
        [*key, row["party_code"], row["month_on"]],
    )
    rows = [
        ("effect", f"{_number(row['effect'])} in the unit of the metric"),
        (INTERVAL, f"{_number(row['ci_low'])} to {_number(row['ci_high'])}"),
        ("verdict", row["verdict"] or "none"),
        ("evidence", row["evidence_grade"]),
    ]
    if month is not None:
        rows.insert(0, ("without go-live", _number(month["counterfactual"])))
        rows.insert(0, ("metric", _number(month["value"])))
    if told is not None and told["not_estimated_because"]:
        rows.append(("not estimated", told["not_estimated_because"]))
    if told is not None and told["cannot_tell"]:
        rows.append(("cannot tell", told["cannot_tell"]))
    return f"Effect of go-live ({row['go_live_type']}) on {row['measure_metric_id']}", rows


def _feeds(connection: duckdb.DuckDBPyConnection, metric: str, party: str | None) -> Section:
    """Feeds that the metric needs at the party: what came, what the contract refused, the balance."""
    needs = connection.execute(
        "select distinct held_feeds, missing_feeds from marts.rpt_feed_metric_matrix "
        "where subject_kind = 'metric' and subject_id = $metric "
        "and ($party is null or party_code = $party)",
        {"metric": metric, "party": party},
    ).fetchall()
    kinds = sorted(
        {
            kind.strip()
            for held, _ in needs
            for group in (held or "").split(";")
            for kind in group.split(",")
            if kind.strip()
        }
    )
    rows = [
        (
            feed,
            f"{received:,} received = {landed:,} landed + {rejected:,} rejected by the contract, "
            f"{quarantined} files refused; {'reconciled' if balanced else 'NOT RECONCILED'}",
        )
        for feed, received, landed, rejected, quarantined, balanced in connection.execute(
            "select counted.feed_id, rows_received, rows_landed, rows_rejected, "
            "counted.quarantined_file_count, is_reconciled "
            "from marts.rpt_reconciliation as counted "
            "inner join marts.rpt_feed_freshness as feeds using (feed_id, feed_kind) "
            "where feed_kind in (select unnest($kinds)) "
            "and ($party is null or feeds.party_code in ($party, 'NETWORK')) "
            "or feed_kind = 'benefit_register' order by all",
            {"kinds": kinds, "party": party},
        ).fetchall()
    ]
    missing = sorted({missing for _, missing in needs if missing})
    rows += [("missing", text) for text in missing]
    return f"Feeds behind {metric}", rows


def _rows(connection: duckdb.DuckDBPyConnection, row: dict[str, Any]) -> Section:
    metric = row["measure_metric_id"]
    told = _one(
        connection,
        "select rows_sql, rows_left_out from catalogue.metrics where metric_id = ?",
        [metric],
    )
    if told is None or told["rows_sql"] is None:
        return "Rows", [("exams", f"{metric} is not counted in exams or reports")]
    sql = told["rows_sql"].format(party=row["party_code"], month=f"{row['month_on']:%Y-%m-01}")
    try:
        (count,) = connection.execute(f"select count(*) from ({sql})").fetchall()[0]
    except duckdb.CatalogException:
        return "Rows", [("exams", "this file holds no rows of exams")]
    noun = "reports" if "fct_report" in sql else "exams"
    rows = [(noun, f"{count:,}"), ("listed by", sql)]
    if told["rows_left_out"]:
        rows.insert(1, ("the volume leaves out", told["rows_left_out"]))
    return "Rows", rows


def _register(told: dict[str, Any]) -> Section:
    return "Register", [
        ("version", _number(told["register_version"])),
        ("signed off", f"{told['signed_off_by_role']}, {told['signed_off_on']}"),
        ("standing", told["source_status"]),
        ("value from", told["value_source"] or "no unit value"),
        ("ledger line", told["ledger_line"] or "none"),
    ]
