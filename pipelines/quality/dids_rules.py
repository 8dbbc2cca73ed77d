"""The validation rules of the Diagnostic Imaging Data Set (DIDS 001 to 082), record by record.

Each rule answers in a column of its own, `dids_001` and so on: true where it holds, false where it
is broken, empty where it has nothing to judge. The contracts name the rules, their level and their
reason; a rule that needs a code list which was not supplied is not evaluable and is told so.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from pipelines.quality.dids_reference import DidsReference

ETHNIC_CATEGORIES = [*"ABCDEFGHJKLMNPRSZ", "99"]
GENDERS = ["0", "1", "2", "9", "X"]
STATUSES = [f"0{digit}" for digit in range(1, 9)]
SETTINGS = [f"0{digit}" for digit in range(1, 8)]
POSTCODE = r"^[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}$"
DEMOGRAPHICS = (
    "ethnic_category",
    "nhs_number",
    "birth_date",
    "gender",
    "postcode",
    "gp_practice_code",
)
DATES = ("opened_on", "closed_on", "inactive_on")
# A code of version 2 counts as valid so many days after it was made inactive.
GRACE_DAYS = {1: None, 2: 183}
OFFSETS = r"(Z|\+0[01]:00|-00:00)$"
# Which code list a rule looks into.
NEEDS = {
    "dids_016": ("postcodes",),
    "dids_018": ("practices",),
    "dids_024": ("organisations",),
    "dids_068": ("sites",),
    "dids_077": ("nicip",),
    "dids_078": ("snomed",),
    "dids_079": ("organisations",),
    "dids_080": ("practices",),
    "dids_081": ("sites",),
    "dids_082": ("nicip",),
}
# These judge the form of a code without a list, and its being in the list with one.
NEEDS_FOR_LIST = {"dids_057": ("nicip",), "dids_059": ("snomed",)}
# Rules about a person. Where a file holds no demographic item at all they have nothing to judge.
ABOUT_PEOPLE = tuple(
    f"dids_{number:03}" for number in (1, 2, 3, 5, 6, 8, 9, 10, 12, 14, 16, 17, 18, 40, 73, 74, 80)
)


@dataclass(frozen=True)
class Judged:
    """Records with one column per rule, and by rule why it could not be evaluated."""

    records: pl.DataFrame
    not_evaluable: dict[str, str]


def judged(
    records: pl.DataFrame, *, version: int, submitted_on: date, reference: DidsReference
) -> Judged:
    """Give every record the answer of every rule.

    `records` has the columns of contract dids_v1 or dids_v2 as `sources.dids` reads them, with
    `nhs_number_valid`. `submitted_on` is the day of the submission (local).
    """
    looked_up = _looked_up(_moments(records, version), reference)
    why = {
        rule: f"no code list {', '.join(lists)}"
        for rule, lists in NEEDS.items()
        if any(getattr(reference, name) is None for name in lists)
    }
    why |= {
        rule: f"form only: no code list {', '.join(lists)}"
        for rule, lists in NEEDS_FOR_LIST.items()
        if any(getattr(reference, name) is None for name in lists)
    }
    broken = _broken(version, submitted_on)
    nobody = records.select(pl.all_horizontal(pl.col(DEMOGRAPHICS).is_null()).all()).item()
    if nobody and not records.is_empty():
        why |= dict.fromkeys(ABOUT_PEOPLE, "the file holds no demographic item")
        broken["dids_073"] = pl.lit(None, pl.Boolean)
    unlisted = [rule for rule, lists in NEEDS.items() if rule in why]
    broken |= {rule: pl.lit(None, pl.Boolean) for rule in unlisted}
    answers = looked_up.select(expression.not_().alias(rule) for rule, expression in broken.items())
    return Judged(records.hstack(answers.get_columns()), dict(sorted(why.items())))


def _moments(records: pl.DataFrame, version: int) -> pl.DataFrame:
    """Each date or time of a record as a local day and, where it is known, as an instant.

    `<item>_day`, `<item>_at`, `<item>_unread` of request, receipt, test, end and report.
    """
    places = {
        1: {
            "request": "requested_on",
            "receipt": "request_received_on",
            "test": "tested_on",
            "end": "tested_on",
            "report": "report_issued_on",
        },
        2: {
            "request": "requested_at",
            "receipt": "request_received_at",
            "test": "started_at",
            "end": "ended_at",
            "report": "report_issued_at",
        },
    }[version]
    made = []
    for item, column in places.items():
        if version == 1:
            day, instant = pl.col(column), pl.lit(None, pl.Datetime("us", "UTC"))
        else:
            day = pl.col(f"{column}__local").dt.date()
            instant = pl.when(pl.col(f"{column}__precision") != "d").then(pl.col(column))
        made += [
            day.alias(f"{item}_day"),
            instant.alias(f"{item}_at"),
            pl.col(f"{column}__unparsed").alias(f"{item}_unread"),
            pl.col(f"{column}__raw").alias(f"{item}_raw"),
        ]
        if version == 2:
            made.append(pl.col(f"{column}__flag").alias(f"{item}_flag"))
    return records.with_columns(made).with_columns(_end=pl.coalesce("end_day", "test_day"))


def _looked_up(frame: pl.DataFrame, reference: DidsReference) -> pl.DataFrame:
    """Whether each code is in its list, and what the list says of it."""
    places = {
        "practices": "gp_practice_code",
        "organisations": "referring_org_code",
        "sites": "site_code",
        "nicip": "nicip_code",
        "snomed": "snomed_code",
    }
    postcode = pl.col("postcode").str.replace_all(" ", "", literal=True)
    codes = reference.postcodes
    known = None if codes is None else codes["code"].str.replace_all(" ", "", literal=True)
    frame = frame.with_columns(
        postcodes_found=pl.lit(None, pl.Boolean)
        if known is None
        else postcode.is_in(known.implode())
    )
    for name, column in places.items():
        table = getattr(reference, name)
        if table is None:
            blank = pl.DataFrame(schema={"code": pl.String, "found": pl.Boolean})
            kept: dict[str, type[pl.DataType]] = dict.fromkeys(DATES, pl.Date)
            kept["snomed_code"] = pl.String
            table = blank.with_columns(pl.lit(None, kind).alias(n) for n, kind in kept.items())
            found = pl.lit(None, pl.Boolean)
        else:
            table = table.with_columns(found=pl.lit(True))
            found = pl.col(f"{name}_found").fill_null(False)
        renamed = table.rename({c: f"{name}_{c}" for c in table.columns if c != "code"})
        frame = frame.join(
            renamed, left_on=column, right_on="code", how="left", maintain_order="left"
        ).with_columns(pl.when(pl.col(column).is_not_null()).then(found).alias(f"{name}_found"))
    return frame


def _later(first: str, second: str) -> pl.Expr:
    """One item later than another: by instant where both have one, else by day."""
    by_instant = pl.col(f"{first}_at") > pl.col(f"{second}_at")
    return pl.coalesce(by_instant, pl.col(f"{first}_day") > pl.col(f"{second}_day"))


def _not_open(name: str, on: pl.Expr) -> pl.Expr:
    """Of an organisation in its list: not yet open, or closed by that day."""
    early = (pl.col(f"{name}_opened_on") > on).fill_null(False)
    late = (pl.col(f"{name}_closed_on") < on).fill_null(False)
    return pl.when(pl.col(f"{name}_found") & on.is_not_null()).then(early | late)


def _code_is_wrong(name: str, column: str, form: str, version: int) -> pl.Expr:
    """Of a code: without its form, not in its list, or (version 2) inactive for too long."""
    formless = ~pl.col(column).str.contains(form)
    unlisted = ~pl.col(f"{name}_found").fill_null(True)
    wrong = formless | unlisted
    grace = GRACE_DAYS[version]
    if grace is not None:
        ended = pl.col("_end") - pl.col(f"{name}_inactive_on")
        wrong |= (ended > pl.duration(days=grace)).fill_null(False)
    return pl.when(pl.col(column).is_not_null()).then(wrong)


def _broken(version: int, submitted_on: date) -> dict[str, pl.Expr]:
    """By rule: true where a record breaks it, empty where there is nothing to judge."""
    test, request, receipt = (pl.col(f"{item}_day") for item in ("test", "request", "receipt"))
    birth, report = pl.col("birth_date"), pl.col("report_day")
    month = pl.lit(submitted_on.replace(day=1))
    number, postcode = pl.col("nhs_number"), pl.col("postcode")
    ten_digits = number.str.contains(r"^[0-9]{10}$")
    formed = postcode.str.contains(POSTCODE)
    accession = pl.col("accession_number")
    nobody = pl.all_horizontal(pl.col(DEMOGRAPHICS).is_null())
    postcode_only = pl.all_horizontal(
        pl.col(name).is_null() for name in DEMOGRAPHICS if name != "postcode"
    )
    rules = {
        "001": pl.when(ten_digits).then(~pl.col("nhs_number_valid")),
        "002": ~ten_digits,
        "003": ~pl.col("nhs_number_status").is_in(STATUSES),
        "005": pl.col("birth_date__unparsed"),
        "006": birth > test,
        "008": birth > report,
        "009": birth <= date(1900, 1, 1),
        "010": birth > request.dt.offset_by("6mo"),
        "012": ~pl.col("ethnic_category").is_in(ETHNIC_CATEGORIES),
        "014": ~pl.col("gender").is_in(GENDERS),
        "016": pl.when(formed).then(~pl.col("postcodes_found")),
        "017": ~formed,
        "018": ~pl.col("practices_found"),
        "020": pl.col("source_setting").is_null(),
        "021": ~pl.col("source_setting").is_in(SETTINGS),
        "023": ~pl.col("referrer_code").str.contains(r"^[A-Z0-9]{8}$"),
        "024": ~pl.col("organisations_found"),
        "026": pl.col("request_unread"),
        "027": _later("request", "receipt"),
        "028": request.dt.offset_by("1y") < test,
        "031": request < date(1970, 1, 1),
        "034": _later("request", "test"),
        "035": _later("request", "report"),
        "036": pl.col("receipt_unread"),
        "038": receipt.dt.offset_by("1y") < test,
        "040": receipt.dt.offset_by("6mo") < birth,
        "041": receipt < date(1970, 1, 1),
        "043": _later("receipt", "test"),
        "044": _later("receipt", "report"),
        "045": pl.col("test_unread"),
        "048": _later("test", "report"),
        "049": test < month.dt.offset_by("-3mo"),
        "050": pl.col("test_raw").is_null(),
        "051": test > submitted_on,
        "055": test < month.dt.offset_by("-6mo"),
        "056": pl.col("nicip_code").is_null() & pl.col("snomed_code").is_null(),
        "057": _code_is_wrong("nicip", "nicip_code", r"^[A-Z0-9]{1,10}$", version),
        "059": _code_is_wrong("snomed", "snomed_code", r"^[0-9]{6,18}$", version),
        "061": pl.col("report_unread"),
        "062": report > test.dt.offset_by("1mo"),
        "066": report > submitted_on,
        "067": pl.col("site_code").is_null(),
        "068": ~pl.col("sites_found"),
        "069": ~pl.col("site_code").str.contains(r"^[A-Z0-9]{5}$"),
        "070": accession.is_null(),
        "071": pl.when(accession.is_not_null()).then(
            pl.int_range(pl.len()).over("site_code", "accession_number") > 0
        ),
        "072": ~accession.str.contains(r"^[ -~]{1,20}$"),
        "073": nobody,
        "074": pl.when(postcode_only).then(~(formed & pl.col("postcodes_found").fill_null(True))),
        "077": pl.when(pl.col("nicip_found")).then(
            (pl.col("nicip_inactive_on") <= pl.col("_end")).fill_null(False)
        ),
        "078": pl.when(pl.col("snomed_found")).then(
            (pl.col("snomed_inactive_on") <= pl.col("_end")).fill_null(False)
        ),
        "079": _not_open("organisations", pl.coalesce(request, test)),
        "080": _not_open("practices", test),
        "081": _not_open("sites", test),
        "082": pl.when(pl.col("nicip_found")).then(
            pl.col("nicip_snomed_code") != pl.col("snomed_code")
        ),
    }
    found = {f"dids_{rule}": expression for rule, expression in rules.items()}
    return found if version == 1 else found | _broken_v2()


def _broken_v2() -> dict[str, pl.Expr]:
    """What version 2 asks besides: clock times with London's offset, and an end."""

    def offset(item: str) -> pl.Expr:
        timed = pl.col(f"{item}_at").is_not_null()
        wrong = ~pl.col(f"{item}_raw").str.contains(OFFSETS)
        return pl.when(timed).then(wrong | pl.col(f"{item}_flag").is_not_null())

    return {
        "dids_v2_start": offset("test"),
        "dids_v2_end": offset("end"),
        "dids_v2_report": offset("report"),
        "dids_v2_end_readable": pl.col("end_unread"),
        "dids_v2_order": _later("test", "end"),
        "dids_v2_clock": pl.col("clock_start_on__unparsed"),
    }
