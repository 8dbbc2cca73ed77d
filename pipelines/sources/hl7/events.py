"""Message rows to imaging events, by a rule table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.event_model import conform
from pipelines.sources.clock import parse_hl7_times

DEFAULT_EVENT_MAP = Path(__file__).parent.parent / "hl7_event_map.csv"
# Names that the rule table's ts_paths may use.
TIME_COLUMNS = {
    "ORC-9": "order_transaction_time",
    "OBR-6": "requested_time",
    "OBR-7": "started_time",
    "OBR-8": "completed_time",
    "OBR-14": "received_time",
    "OBR-22": "status_time",
    "OBR-32.2": "interpreted_time",
    "OBX-14": "observation_time",
    "SCH-11.4": "scheduled_time",
    "AIS-4": "scheduled_time",
    "MSH-7": "message_time",
    "EVN-2": "recorded_time",
}
ACTOR_COLUMNS = {
    "requester": "requester_id",
    "radiographer": "technician_id",
    "first_reader": "first_reader_id",
    "verifier": "interpreter_id",
}
# Their time is the one the test is wanted for, and that of a booking must not pass for it.
REQUESTS = frozenset({"order_placed", "order_received", "order_changed"})


@dataclass(frozen=True)
class SenderClock:
    """How a sender's times are meant: the wall clock of those without an offset, and whether an
    offset that is stated counts. `zone` None is that of the network."""

    zone: str | None = None
    offsets_count: bool = True

    def read(self, raw: pl.Series, zone: str) -> pl.DataFrame:
        """Times as `parse_hl7_times` gives them; `local` is the wall clock of `zone`."""
        if not self.offsets_count:
            raw = raw.str.replace(r"[+-]\d{4}$", "")
        times = parse_hl7_times(raw, self.zone or zone)
        if self.zone in (None, zone):
            return times
        local = pl.col("utc").dt.convert_time_zone(zone).dt.replace_time_zone(None)
        return times.with_columns(local=local)


NETWORK_CLOCK = SenderClock()


def events_from_messages(
    rows: pl.DataFrame, rules: pl.DataFrame, zone: str, clock: SenderClock = NETWORK_CLOCK
) -> pl.DataFrame:
    """One row per event: the rules of an event map applied to message rows (RAW_EVENT_SCHEMA).

    `rows` are `MessageBatch.rows` with `source_sha`, `feed_id`, `issuer_ods` beside them; `rules`
    is the event map (hl7_event_map.csv: empty cell = any value, `|` between alternatives).
    A row that matches no rule gives no event; the caller rejects it as unmapped. An event whose
    time is missing or unreadable has a null `event_ts_utc`; the caller rejects its message.
    `zone` is the wall clock of the network, `clock` how the sender's times are meant.
    """
    asserted = clock.read(rows["message_time"], zone)["utc"]
    rows = rows.with_columns(
        asserted_ts_utc=asserted,
        wanted_for=clock.read(rows["wanted_time"], zone)["utc"],
        scheduled_for=clock.read(rows["scheduled_time"], zone)["utc"],
    )
    frames = [_events_of_rule(rows, rule, zone, clock) for rule in rules.iter_rows(named=True)]
    return conform(pl.concat([frame for frame in frames if len(frame)] or frames, how="diagonal"))


def read_event_map(path: Path = DEFAULT_EVENT_MAP) -> pl.DataFrame:
    """Read an event map: one row per rule, all columns text, empty cells null."""
    return pl.read_csv(path, infer_schema=False).sort(pl.col("rule_rank").cast(pl.Int64))


MATCHED = {
    "msg_type": "message_code",
    "msg_event": "trigger_event",
    "orc1": "order_control",
    "orc5": "order_status",
    "obr25": "result_status",
    "section": "section",
    "sch25": "scheduling_status",
}


def _events_of_rule(
    rows: pl.DataFrame, rule: dict[str, str | None], zone: str, clock: SenderClock
) -> pl.DataFrame:
    for key, column in MATCHED.items():
        wanted = rule[key]
        if wanted is not None:
            rows = rows.filter(pl.col(column).is_in(wanted.split("|")))
    paths = str(rule["ts_paths"]).split()
    stated = pl.coalesce(pl.col(TIME_COLUMNS[path]) for path in paths)
    place = pl.coalesce(
        pl.when(pl.col(TIME_COLUMNS[path]).is_not_null()).then(pl.lit(path)) for path in paths
    )
    rows = rows.with_columns(event_ts_raw=stated, ts_source=place)
    if rule["carried"] == "true":
        rows = rows.filter(pl.col("event_ts_raw").is_not_null())
    times = clock.read(rows["event_ts_raw"], zone)
    actor = rule["actor"]
    return rows.select(
        "source_sha",
        pl.col("message_no").alias("message_id"),
        "obr_set",
        "feed_id",
        pl.lit("hl7v2").alias("source_kind"),
        "issuer_ods",
        "accession",
        "filler_id",
        "placer_id",
        pl.col("appointment_id").alias("appt_id"),
        "study_uid",
        "study_uid_source",
        "study_uid_conflict",
        "patient_id",
        "prior_patient_id",
        "nhs_number",
        pl.col("birth_date").str.slice(0, 8).str.to_date("%Y%m%d", strict=False),
        pl.col("sex").replace({"M": "1", "F": "2", "U": "9", "O": "9"}),
        "ethnic_category",
        "postcode",
        pl.lit(rule["event_type"]).alias("event_type"),
        pl.lit(rule["carried"] == "true").alias("carried"),
        "event_ts_raw",
        times["utc"].alias("event_ts_utc"),
        times["local"].alias("event_ts_local"),
        times["precision"].alias("ts_precision"),
        times["tz_source"],
        times["flag"].alias("ts_flag"),
        "ts_source",
        "asserted_ts_utc",
        "content_sha",
        pl.col("site_code").alias("site_ods"),
        "resource",
        pl.col("station_ae_title").alias("aet"),
        "modality",
        pl.col("exam_code").alias("proc_code"),
        pl.col("exam_code_system").alias("proc_system"),
        pl.col("snomed_code").alias("proc_snomed"),
        "priority",
        "patient_class",
        "source_setting",
        "requester_id",
        "requester_org",
        (pl.col(ACTOR_COLUMNS[actor]) if actor else pl.lit(None, pl.String)).alias("actor_id"),
        pl.lit(actor, pl.String).alias("actor_role"),
        _actor_org(actor).alias("actor_org"),
        pl.col("wanted_for" if rule["event_type"] in REQUESTS else "scheduled_for").alias(
            "scheduled_for"
        ),
        pl.format(
            "ORC1={}|ORC5={}|OBR25={}",
            pl.col("order_control").fill_null(""),
            pl.col("order_status").fill_null(""),
            pl.col("result_status").fill_null(""),
        ).alias("status_raw"),
        pl.col("report_text"),
        _reason(str(rule["event_type"])).alias("reason"),
    )


def _actor_org(actor: str | None) -> pl.Expr:
    """The organisation a person acts for: OBX-15 for reporters, ORC-21 for requesters."""
    places: dict[str, Callable[[], pl.Expr]] = {
        "verifier": lambda: pl.col("performing_org"),
        "first_reader": lambda: pl.col("performing_org"),
        "requester": lambda: pl.col("requester_org"),
    }
    return places[actor]() if actor in places else pl.lit(None, pl.String)


def _reason(event_type: str) -> pl.Expr:
    """Why: ORC-16 of an order; SCH-6 of a slot given up, since SIU messages have no order."""
    if event_type in ("appointment_cancelled", "appointment_moved"):
        return pl.coalesce("cancel_reason", "appointment_reason")
    return pl.col("cancel_reason")
