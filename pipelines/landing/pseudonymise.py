"""Identities become keyed hashes before anything is written; ages, places and texts are coarsened.

HMAC-SHA256 with the network's key, cut to 128 bits, in a domain of its own per kind of identity,
so that equal numbers of different kinds do not meet. NHS number rules: modulus 11, not all digits
equal (NHS Data Dictionary).
"""

import hmac
from collections.abc import Iterator, Mapping

import polars as pl

from pipelines.landing.keys import Keys

PSEUDONYM_HEX = 32
# Enough to tell the lines of one report apart, and half the room.
LINE_HEX = 16
OLDEST_BAND = 90
# Codes of the NHS Data Dictionary; local lists put a digit behind an ethnic category.
DICOM_SEXES = {"M": "1", "F": "2", "O": "9"}
SEXES = ("0", "1", "2", "9", "X")
ROLE_WORD = (
    r"^(?:administrator|analyst|and|assistant|associate|business|care|chief|clinical|"
    r"coordinator|ct|data|department|deputy|diagnostic|diagnostics|directorate|"
    r"director|divisional|division|finance|for|general|governance|group|head|imaging|"
    r"informatics|information|lead|manager|mammography|medical|medicine|modality|mri|"
    r"network|nuclear|of|officer|operating|operational|operations|pacs|performance|"
    r"physicist|physics|principal|quality|radiographer|radiologist|radiology|"
    r"reporting|ris|screening|senior|service|services|site|sonographer|"
    r"superintendent|systems|team|the|trust|ultrasound)$"
)
# Codes of an event that land as they are sent.
_CODES = (
    "site_ods",
    "resource",
    "modality",
    "priority",
    "patient_class",
    "source_setting",
    "requester_org",
    "actor_org",
    "status_raw",
)
_SNOMED = r"(?i)^(?:sct|snm|snomed)"
ETHNIC = r"^(?:[A-HJ-NPRSZ]\d?|99)$"


def pseudonyms(values: pl.Series, domain: str, key: bytes) -> pl.Series:
    """Keyed hash (32 hex digits) of every value; null stays null. Works on distinct values."""
    distinct, place = _encoded(values)
    hashed = [digest.hex()[:PSEUDONYM_HEX] for digest in _hmacs(distinct, domain, key)]
    return pl.Series(values.name, hashed, dtype=pl.String).gather(place)


def each_pseudonym(values: pl.Series, domain: str, key: bytes) -> pl.Series:
    """Keyed hash of each of the values that a backslash separates; null and empty stay null."""
    given = values.replace("", None)
    place = pl.Series("row", range(len(given)), dtype=pl.UInt32)
    one = pl.DataFrame({"row": place, "value": given.str.split("\\")}).explode("value")
    hashed = one.with_columns(value=pseudonyms(one["value"], domain, key))
    joined = hashed.group_by("row", maintain_order=True).agg(
        pl.when(pl.col("value").null_count() == 0).then(pl.col("value").str.join("\\"))
    )
    return joined["value"].alias(values.name)


def digests(values: pl.Series, domain: str, key: bytes) -> pl.Series:
    """Keyed hash (16 bytes) of every value; null stays null."""
    given = values.is_not_null()
    hashed = [digest[:16] for digest in _hmacs(values.filter(given), domain, key)]
    place = pl.select(pl.when(given).then(given.cast(pl.UInt32).cum_sum() - 1)).to_series()
    return pl.Series(values.name, hashed, dtype=pl.Binary).gather(place)


def _hmacs(values: pl.Series, domain: str, key: bytes) -> Iterator[bytes]:
    """HMAC-SHA256 of every value; the key and the domain are taken in once."""
    begun = hmac.new(key, domain.encode() + b"\x1f", "sha256")
    for value in values:
        one = begun.copy()
        one.update(value.encode())
        yield one.digest()


def _encoded(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Distinct values, and which of them each value is (null stays null)."""
    encoded = values.cast(pl.String).to_arrow().dictionary_encode()
    return pl.Series(encoded.dictionary, dtype=pl.String), pl.Series(encoded.indices)


def nhs_number_is_valid(values: pl.Series) -> pl.Series:
    """True where a number passes modulus 11 and is not one digit ten times; null where none."""
    distinct, place = _encoded(values)
    number = pl.col("number")
    digit = [number.str.slice(place, 1).cast(pl.Int32, strict=False) for place in range(10)]
    total = pl.sum_horizontal(digit[place] * (10 - place) for place in range(9))
    passes = (11 - total % 11) % 11 == digit[9]
    is_one_digit = pl.all_horizontal(one == digit[0] for one in digit)
    is_valid = number.str.contains(r"^[0-9]{10}$") & passes & ~is_one_digit
    found = pl.DataFrame({"number": distinct}).select(is_valid.fill_null(False)).to_series()
    return found.alias(values.name).gather(place)


def age_bands(births: pl.Expr, on: pl.Expr) -> pl.Expr:
    """Five-year age band ("40-44", "90+") at a date; null where either is missing or negative."""
    had_birthday = (on.dt.month() * 100 + on.dt.day()) >= (
        births.dt.month() * 100 + births.dt.day()
    )
    age = on.dt.year() - births.dt.year() - 1 + had_birthday.cast(pl.Int32)
    low = age // 5 * 5
    return (
        pl.when(age < 0)
        .then(None)
        .when(age >= OLDEST_BAND)
        .then(pl.lit(f"{OLDEST_BAND}+"))
        .otherwise(
            pl.format(
                "{}-{}", low.cast(pl.String).str.zfill(2), (low + 4).cast(pl.String).str.zfill(2)
            )
        )
    )


def quintiles(postcodes: pl.Series, deprivation: pl.DataFrame) -> pl.Series:
    """Deprivation quintile (1 most deprived) of each postcode's sector; null where unknown.

    `deprivation` has `postcode_sector`, `deprivation_quintile`. A postcode may be written with or
    without its blank: the inward part is always a digit and two letters.
    """
    distinct, place = _encoded(postcodes)
    written = distinct.str.to_uppercase().str.replace_all(r"\s", "")
    sectors = written.str.replace(r"^([A-Z0-9]{2,4})(\d)[A-Z]{2}$", "${1} ${2}")
    found = sectors.replace_strict(
        deprivation["postcode_sector"],
        deprivation["deprivation_quintile"].cast(pl.Int16),
        default=None,
        return_dtype=pl.Int16,
    )
    return found.alias(postcodes.name).gather(place)


def pseudonymise_events(
    events: pl.DataFrame, keys: Keys, deprivation: pl.DataFrame, ranks: dict[str, int]
) -> pl.DataFrame:
    """One row per event in the landed shape (contract imaging_events, without arrival columns).

    Takes RAW_EVENT_SCHEMA. `event_id` is a keyed hash over feed group (issuer), exam as received,
    event type, raw time, actor and report text; where the time is only the message's own
    (MSH-7), the message content stands in for it, so that a resend is not a second event. A merge
    of two patient numbers has no exam; the two numbers stand in its place, and of an audit message
    the study, the systems that sent and were sent to, and its event code, action and outcome.
    """
    events = events.with_columns(pl.col("nhs_number").str.replace_all(r"[\s-]", ""))
    filler_key = pl.format("{}|F|{}|{}", "issuer_ods", "filler_id", "obr_set")
    raw_exam = events.select(
        pl.when(pl.col("source_kind") == "audit")
        .then(
            # one study begins to be sent and is sent within a second, and from two systems at once
            pl.concat_str(
                [
                    told.fill_null("")
                    for told in (
                        pl.col("study_uid"),
                        pl.col("aet"),
                        pl.col("attrs").str.json_path_match("$.source_aet"),
                        pl.col("status_raw"),
                    )
                ],
                separator="|",
            )
        )
        .when(pl.col("accession").is_not_null())
        .then(pl.format("{}|A|{}", "issuer_ods", "accession"))
        .otherwise(pl.coalesce(filler_key, pl.format("{}|{}", "patient_id", "prior_patient_id")))
        .alias("raw_exam")
    )["raw_exam"]
    event_id = _event_ids(events, raw_exam, keys)
    patient, prior = (
        events.select(pl.format("{}|{}", "issuer_ods", name))[:, 0]
        for name in ("patient_id", "prior_patient_id")
    )
    hashed = events.with_columns(
        accession=pseudonyms(events["accession"], "accession", keys.pseudonym),
        prior_accession=pseudonyms(events["prior_accession"], "accession", keys.pseudonym),
        filler_id=pseudonyms(events["filler_id"], "filler", keys.pseudonym),
        placer_id=pseudonyms(events["placer_id"], "placer", keys.pseudonym),
        appt_id=pseudonyms(events["appt_id"], "appointment", keys.pseudonym),
        study_uid=pseudonyms(events["study_uid"], "study", keys.pseudonym),
        patient_key=pseudonyms(patient, "patient", keys.pseudonym),
        prior_patient_key=pseudonyms(prior, "patient", keys.pseudonym),
        nhs_key=pseudonyms(events["nhs_number"], "nhs", keys.pseudonym),
        nhs_number_valid=nhs_number_is_valid(events["nhs_number"]),
        actor_id=pseudonyms(events["actor_id"], "staff", keys.pseudonym),
        requester_id=pseudonyms(events["requester_id"], "staff", keys.pseudonym),
        deprivation_quintile=quintiles(events["postcode"], deprivation),
        event_id=event_id,
        event_rank=events["event_type"].replace_strict(ranks, return_dtype=pl.Int16),
        age_band=events.select(age_bands(pl.col("birth_date"), pl.col("event_ts_local").dt.date()))[
            :, 0
        ],
        seq=events.select(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("source_sha"))[:, 0],
        # A segment whose fields have moved brings a birth date or a name in their place.
        sex=pl.when(pl.col("sex").is_in(SEXES)).then("sex"),
        ethnic_category=pl.when(pl.col("ethnic_category").str.contains(ETHNIC)).then(
            "ethnic_category"
        ),
        reason=coded(unnumbered(events["reason"], keys.pseudonym), keys.pseudonym),
        **{name: unnumbered(events[name], keys.pseudonym) for name in _CODES},
        proc_code=_exam_codes(events, keys.pseudonym),
        swim_code=pl.lit(None, pl.String),
    ).hstack(hashed_reports(events["report_text"], keys.pseudonym).get_columns())
    return hashed.with_columns(
        exam_key=pl.when(pl.col("accession").is_not_null())
        .then(pl.format("{}|A|{}", "issuer_ods", "accession"))
        .otherwise(filler_key)
    ).drop("patient_id", "prior_patient_id", "nhs_number", "birth_date", "postcode", "report_text")


def hashed_reports(texts: pl.Series, key: bytes) -> pl.DataFrame:
    """What is kept of each report text: that it is the same, which lines it has, how long it is.

    One row per text: `result_hash` (keyed hash, 16 bytes, of the normalised text), `report_lines`
    (keyed hashes, 16 hex digits each, of its distinct lines, sorted, with blanks between) and
    `report_words` (white-space tokens); null where there is no text. Normalised: Unicode NFC, one
    kind of line end, single blanks, no empty lines. A plain hash of a short line could be guessed.
    """
    distinct, place = _encoded(texts)
    normal = pl.DataFrame({"text": distinct}).select(
        pl.col("text")
        .str.normalize("NFC")
        .str.replace_all(r"\s*[\r\n]\s*", "\n")
        .str.replace_all(r"[^\S\n]+", " ")
        .str.strip_chars()
        .replace("", None)
    )["text"]
    lines = pl.DataFrame({"line": normal.str.split("\n")}).with_row_index("row").explode("line")
    hashed = lines.with_columns(pseudonyms(lines["line"], "report_line", key).str.head(LINE_HEX))
    joined = hashed.group_by("row", maintain_order=True).agg(
        pl.col("line").unique().sort().str.join(" ")
    )
    kept = pl.DataFrame(
        {
            "result_hash": digests(normal, "report", key),
            "report_lines": joined["line"].set(normal.is_null(), None),
            "report_words": normal.str.count_matches(r"\S+").cast(pl.Int32),
        }
    )
    return kept.select(pl.all().gather(place))


def _event_ids(events: pl.DataFrame, raw_exam: pl.Series, keys: Keys) -> pl.Series:
    """Identity of each event: of its parts as received, so that no pseudonym key is in it."""
    when = (
        pl.when(pl.col("ts_source") == "MSH-7")
        .then(pl.col("content_sha").bin.encode("hex"))
        .otherwise(pl.col("event_ts_raw"))
    )
    parts = events.select(
        pl.concat_str(
            [
                pl.col("issuer_ods").fill_null(""),
                raw_exam.fill_null(""),
                pl.col("event_type"),
                when.fill_null(""),
                pl.col("actor_id").fill_null(""),
                pl.col("report_text").fill_null(""),
            ],
            separator="\x1f",
        )
    )[:, 0]
    return digests(parts, "event", keys.event_identity)


def pseudonymise_headers(
    headers: pl.DataFrame,
    times: pl.DataFrame,
    keys: Keys,
    known_texts: set[str],
    issuer: str | None,
) -> pl.DataFrame:
    """One row per SOP instance in the landed shape (contract dicom_headers).

    `times` is `acquisition_times` of the same rows. A description stays only where it is in
    `known_texts`; any other becomes `h:` and a keyed hash, so that it can be counted and mapped.
    """
    births = headers["patient_birth_date"].str.to_date("%Y%m%d", strict=False)
    study_days = (
        headers["study_date"].str.replace_all(r"\.", "").str.to_date("%Y%m%d", strict=False)
    )
    patients = headers["patient_id"].replace("", None)
    patients = pl.Series(
        [None if p is None else f"{issuer or ''}|{p}" for p in patients], dtype=pl.String
    )
    frame = headers.with_columns(
        births=births,
        study_day=study_days,
        sop_instance_uid=pseudonyms(headers["sop_instance_uid"], "instance", keys.pseudonym),
        series_instance_uid=pseudonyms(headers["series_instance_uid"], "series", keys.pseudonym),
        study_instance_uid=pseudonyms(headers["study_instance_uid"], "study", keys.pseudonym),
        accession_number=pseudonyms(
            headers["accession_number"].replace("", None), "accession", keys.pseudonym
        ),
        patient_id=pseudonyms(patients, "patient", keys.pseudonym),
        request_requested_procedure_id=pseudonyms(
            headers["request_requested_procedure_id"].replace("", None), "placer", keys.pseudonym
        ),
        request_scheduled_procedure_step_id=pseudonyms(
            headers["request_scheduled_procedure_step_id"].replace("", None), "step", keys.pseudonym
        ),
        irradiation_event_uid=each_pseudonym(
            headers["irradiation_event_uid"], "irradiation_event", keys.pseudonym
        ),
        **{
            column: describe(headers[column], known_texts, keys.pseudonym)
            for column in (
                "study_description",
                "series_description",
                "protocol_name",
                "requested_procedure_description",
            )
        },
    )
    return frame.with_columns(
        age_band=age_bands(pl.col("births"), pl.col("study_day")),
        # what is no code could be anything, a name included
        patient_sex=pl.col("patient_sex").replace_strict(DICOM_SEXES, default=None),
    ).hstack(times.get_columns())


def pseudonymise_series(series: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """One row per series of a series list, identities hashed as those of DICOM headers are.

    Takes the columns of the contract dicom_series and `issuer_ods`.
    """
    patient = series.select(pl.format("{}|{}", pl.col("issuer_ods").fill_null(""), "patient_id"))
    domains = {
        "series_instance_uid": "series",
        "study_instance_uid": "study",
        "accession_number": "accession",
    }
    return series.with_columns(
        pseudonyms(patient[:, 0], "patient", keys.pseudonym).alias("patient_id"),
        *(
            pseudonyms(series[name], domain, keys.pseudonym).alias(name)
            for name, domain in domains.items()
        ),
    )


def pseudonymise_table(table: pl.DataFrame, domains: Mapping[str, str], keys: Keys) -> pl.DataFrame:
    """The rows with the columns of `domains` hashed as the same numbers of other feeds are.

    A `patient` is a number of the sender's own index, so `issuer_ods` is part of it; an NHS number
    (`nhs`) is hashed without blanks and hyphens.
    """
    hashed = []
    for name, domain in domains.items():
        value = pl.col(name)
        if domain == "patient":
            value = pl.format("{}|{}", pl.col("issuer_ods").fill_null(""), name)
        elif domain == "nhs":
            value = value.str.replace_all(r"[\s-]", "")
        given = table.select(value.alias(name))[name]
        hashed.append(pseudonyms(given, domain, keys.pseudonym))
    return table.with_columns(hashed)


def pseudonymise_doses(doses: pl.DataFrame, keys: Keys) -> pl.DataFrame:
    """One row per dose report and event, identities hashed as those of DICOM headers are.

    Takes rows of `dose_reports` with the identities of their headers, and `issuer_ods`. The UID of
    the device stays as it is, as that of a header does: it names a machine and joins them.
    """
    numbers = doses.with_columns(pl.col("accession_number", "patient_id").replace("", None))
    patient = numbers.select(pl.format("{}|{}", pl.col("issuer_ods").fill_null(""), "patient_id"))
    domains = {
        "sop_instance_uid": "instance",
        "series_instance_uid": "series",
        "study_instance_uid": "study",
        "accession_number": "accession",
        "irradiation_event_uid": "irradiation_event",
    }
    return numbers.with_columns(
        pseudonyms(patient[:, 0], "patient", keys.pseudonym).alias("patient_id"),
        *(
            pseudonyms(numbers[name], domain, keys.pseudonym).alias(name)
            for name, domain in domains.items()
        ),
    )


def describe(texts: pl.Series, known: set[str], key: bytes) -> pl.Series:
    """Keep the texts the description map knows; hash the rest (`h:` + 32 hex digits)."""
    unknown = texts.set(texts.is_in(list(known)) | (texts == ""), None)
    return pl.DataFrame(
        {"text": texts, "hashed": "h:" + pseudonyms(unknown, "description", key)}
    ).select(pl.coalesce("hashed", "text").alias(texts.name))[:, 0]


def coded(reasons: pl.Series, key: bytes) -> pl.Series:
    """Keep what has the form of a code; hash the rest (`h:` + 32 hex digits): it can be free text.

    A code is up to 16 letters, digits and signs without a blank.
    """
    free = reasons.set(reasons.str.contains(r"^[A-Za-z0-9_.\-]{1,16}$"), None)
    return pl.DataFrame(
        {"reason": reasons, "hashed": "h:" + pseudonyms(free, "reason", key)}
    ).select(pl.coalesce("hashed", "reason").alias(reasons.name))[:, 0]


def roles(texts: pl.Series, key: bytes) -> pl.Series:
    """Keep what is made of words for roles only; hash the rest (`h:` + 32 hex digits).

    Who signs a workbook off writes their own name now and then, and a name is letters as a role is.
    """
    words = texts.str.to_lowercase().str.extract_all(r"[^\s,/&()-]+")
    is_role = words.list.eval(pl.element().str.contains(ROLE_WORD)).list.all()
    other = texts.set(is_role.fill_null(True), None)
    return pl.DataFrame({"text": texts, "hashed": "h:" + pseudonyms(other, "role", key)}).select(
        pl.coalesce("hashed", "text").alias(texts.name)
    )[:, 0]


def unnumbered(codes: pl.Series, key: bytes) -> pl.Series:
    """Hash the NHS numbers in a column of codes (`h:` + 32 hex digits), and keep all else.

    One stands there where a sender has moved a field or a column.
    """
    distinct, place = _encoded(codes)
    number = distinct.str.replace_all(r"[\s-]", "")
    is_number = nhs_number_is_valid(number)
    hashed = "h:" + pseudonyms(number.set(~is_number, None), "code", key)
    kept = pl.DataFrame({"hashed": hashed, "code": distinct}).select(pl.coalesce("hashed", "code"))
    return kept[:, 0].alias(codes.name).gather(place)


def _exam_codes(events: pl.DataFrame, key: bytes) -> pl.Series:
    """Exam codes, NHS numbers among them hashed; a SNOMED code can pass modulus 11 by chance."""
    return events.with_columns(told=unnumbered(events["proc_code"], key)).select(
        pl.when(
            pl.col("proc_system").str.contains(_SNOMED)
            | (pl.col("proc_code") == pl.col("proc_snomed"))
        )
        .then("proc_code")
        .otherwise("told")
        .alias("proc_code")
    )[:, 0]


def pseudonymise_path(path: str, keys: Keys) -> str:
    """Name a file without its path, which can hold a name or number of a patient."""
    return hmac.digest(keys.pseudonym, b"path\x1f" + path.encode(), "sha256").hex()[:PSEUDONYM_HEX]
