"""Tables of a published build with one signal, one missed target and one late feed."""

from datetime import UTC, date, datetime

import polars as pl

from pipelines.alerts.signals import Tables

NOW = datetime(2026, 4, 2, 6, 0, tzinfo=UTC)
URL = "https://imaging.example"


def chart(metric: str, name: str, unit: str, level: str, code: str, **more) -> dict:
    blank = {"has_icons": True, "variation_text": "Special cause, concerning: values higher"}
    blank |= {"lpl": 0.02, "upl": 0.08, "comparator": None, "target_value": None}
    told = {"metric_id": metric, "name": name, "unit": unit, "org_level": level, "org_code": code}
    return told | blank | {"target_source_status": None} | more


def months(metric: str, level: str, code: str, told: list[tuple[float | None, str | None]]):
    return [
        {
            "metric_id": metric,
            "org_level": level,
            "org_code": code,
            "period_start_on": date(2025, 10 + n, 1) if n < 3 else date(2026, n - 2, 1),
            "value": value,
            "point_type": kind,
        }
        for n, (value, kind) in enumerate(told)
    ]


CALM, ALARM = "common_cause", "special_cause_concern"
W02 = [(0.04, CALM), (0.04, CALM), (0.04, CALM), (0.12, ALARM), (None, None), (0.15, ALARM)]


def made(w02=None) -> Tables:
    target = {"comparator": "at_most", "target_value": 0.05, "target_source_status": "from_memory"}
    charts = [
        chart("W02", "Waiting six weeks and more", "rate", "trust", "RMC", **target),
        chart("W01", "Waiting list", "count", "network", "NETWORK"),
        chart("T01", "Exams performed", "count", "trust", "RMC"),
    ]
    points = [
        *months("W02", "trust", "RMC", w02 or W02),
        *months("W01", "network", "NETWORK", [(100.0, CALM), (3.0, ALARM)]),
        *months("T01", "trust", "RMC", [(100.0, CALM), (None, None)]),
    ]
    feeds = [("RMC", "hl7_RMC", "hl7", datetime(2026, 3, 20, 9, 30))]
    organisations = [
        ("network", "NETWORK", "Greater Manchester", "Greater Manchester (network)"),
        ("party", "RMC", "Bolton", "Bolton (party)"),
        ("trust", "RMC", "Bolton", "Bolton (trust)"),
    ]
    names = ["party_code", "feed_id", "feed_kind", "as_at_local"]
    return Tables(
        pl.DataFrame(charts, infer_schema_length=None),
        pl.DataFrame(points, infer_schema_length=None),
        pl.DataFrame(feeds, schema=names, orient="row"),
        pl.DataFrame(
            organisations, schema=["org_level", "org_code", "org_name", "label"], orient="row"
        ),
    )
