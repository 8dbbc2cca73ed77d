"""The canonical imaging event as sources hand it over: identities raw, in memory only."""

import polars as pl

UTC_INSTANT = pl.Datetime("us", "UTC")
WALL_CLOCK = pl.Datetime("us")

# One row per event as a source states it. The landing room replaces every identity by a keyed
# hash before anything is written; the landed shape is data_contracts/inbound/imaging_events.
RAW_EVENT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "source_sha": pl.String,
    "message_id": pl.Int64,
    "obr_set": pl.Int32,
    "feed_id": pl.String,
    "source_kind": pl.String,
    "issuer_ods": pl.String,
    "accession": pl.String,
    "filler_id": pl.String,
    "placer_id": pl.String,
    "appt_id": pl.String,
    "study_uid": pl.String,
    "study_uid_source": pl.String,
    "study_uid_conflict": pl.Boolean,
    "patient_id": pl.String,
    "prior_patient_id": pl.String,
    "prior_accession": pl.String,
    "nhs_number": pl.String,
    "birth_date": pl.Date,
    "sex": pl.String,
    "ethnic_category": pl.String,
    "postcode": pl.String,
    "event_type": pl.String,
    "carried": pl.Boolean,
    "event_ts_raw": pl.String,
    "event_ts_utc": UTC_INSTANT,
    "event_ts_local": WALL_CLOCK,
    "ts_precision": pl.String,
    "tz_source": pl.String,
    "ts_flag": pl.String,
    "ts_source": pl.String,
    "asserted_ts_utc": UTC_INSTANT,
    "content_sha": pl.Binary,
    "site_ods": pl.String,
    "resource": pl.String,
    "aet": pl.String,
    "modality": pl.String,
    "proc_code": pl.String,
    "proc_system": pl.String,
    "proc_snomed": pl.String,
    "priority": pl.String,
    "patient_class": pl.String,
    "source_setting": pl.String,
    "requester_id": pl.String,
    "requester_org": pl.String,
    "actor_id": pl.String,
    "actor_role": pl.String,
    "actor_org": pl.String,
    "scheduled_for": UTC_INSTANT,
    "status_raw": pl.String,
    "report_text": pl.String,
    "reason": pl.String,
    "attrs": pl.String,
}


def conform(frame: pl.DataFrame) -> pl.DataFrame:
    """Give `frame` exactly the raw event columns, missing ones as nulls, in model order."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in RAW_EVENT_SCHEMA.items()
    )
