"""Every rule of the national data set (DIDS 001 to 082): what it must turn down, and what not."""

from datetime import date

import polars as pl
import pytest

from pipelines.landing.pseudonymise import nhs_number_is_valid
from pipelines.quality.dids_reference import DidsReference, ReferenceProblem
from pipelines.quality.dids_rules import NEEDS, judged
from pipelines.quality.suites import violations
from pipelines.sources.dids import read_dids, xml_is_dids
from pipelines.sources.extract_tables import Refused
from tests.dids_samples import CONTRACTS_IN, GOOD, NOBODY, REFERENCE, as_csv

LONDON = "Europe/London"
SUBMITTED = date(2026, 2, 17)
# The numbers of the published list; those between are not used.
NUMBERS = [
    f"{number:03}"
    for number in (
        1,
        2,
        3,
        5,
        6,
        8,
        9,
        10,
        12,
        14,
        16,
        17,
        18,
        20,
        21,
        23,
        24,
        26,
        27,
        28,
        31,
        34,
        35,
        36,
        38,
        40,
        41,
        43,
        44,
        45,
        48,
        49,
        50,
        51,
        55,
        56,
        57,
        59,
        61,
        62,
        66,
        67,
        68,
        69,
        70,
        71,
        72,
        73,
        74,
        75,
        76,
        77,
        78,
        79,
        80,
        81,
        82,
    )
]
WARNINGS = [f"{number:03}" for number in (23, 28, 38, 49, 62, 77, 78, 79, 80, 81)]
# By rule: what breaks it, and what just holds it.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "001": ({"nhs_number": "9990001236"}, {"nhs_number": "9997004019"}),
    "002": ({"nhs_number": "999000123"}, {"nhs_number": ""}),
    "003": ({"nhs_number_status": "09"}, {"nhs_number_status": "08"}),
    "005": ({"birth_date": "17/04/1958"}, {"birth_date": "1958-04-30"}),
    "006": (
        {"birth_date": "2026-01-13", "request": "2026-01-02", "receipt": "2026-01-02"},
        {"birth_date": "2026-01-12", "request": "2026-01-02", "receipt": "2026-01-02"},
    ),
    "008": (
        {"birth_date": "2026-01-15", "request": "2026-01-02", "receipt": "2026-01-02"},
        {"birth_date": "2026-01-12", "report": "2026-01-12"},
    ),
    "009": ({"birth_date": "1900-01-01"}, {"birth_date": "1900-01-02"}),
    "010": (
        {"birth_date": "2026-01-02", "request": "2025-07-01", "receipt": "2025-12-01"},
        {"birth_date": "2026-01-01", "request": "2025-07-01", "receipt": "2025-12-01"},
    ),
    "012": ({"ethnic_category": "Q"}, {"ethnic_category": "99"}),
    "014": ({"gender": "M"}, {"gender": "X"}),
    "016": ({"postcode": "ZZ1 1ZZ"}, {"postcode": "M204BX"}),
    "017": ({"postcode": "unknown"}, {"postcode": ""}),
    "018": ({"gp_practice_code": "P00000"}, {"gp_practice_code": ""}),
    "020": ({"source_setting": ""}, {"source_setting": "01"}),
    "021": ({"source_setting": "08"}, {"source_setting": "07"}),
    "023": ({"referrer_code": "99"}, {"referrer_code": "C1234567"}),
    "024": ({"referring_org_code": "XXX"}, {"referring_org_code": ""}),
    "026": ({"request": "20251220"}, {"request": ""}),
    "027": ({"request": "2025-12-23"}, {"request": "2025-12-22"}),
    "028": ({"request": "2025-01-11"}, {"request": "2025-01-12"}),
    "031": (
        {"request": "1969-12-31", "birth_date": "1958-04-17"},
        {"request": "1970-01-01", "birth_date": "1958-04-17"},
    ),
    "034": (
        {"request": "2026-01-13", "receipt": ""},
        {"request": "2026-01-12", "receipt": ""},
    ),
    "035": (
        {"request": "2026-01-15", "receipt": ""},
        {"request": "2026-01-14", "receipt": "", "test": "2026-01-14"},
    ),
    "036": ({"receipt": "2025-13-22"}, {"receipt": ""}),
    "038": (
        {"request": "", "receipt": "2025-01-11"},
        {"request": "", "receipt": "2025-01-12"},
    ),
    "040": (
        {"birth_date": "2026-01-02", "request": "", "receipt": "2025-07-01"},
        {"birth_date": "2026-01-01", "request": "", "receipt": "2025-07-01"},
    ),
    "041": ({"request": "", "receipt": "1969-12-31"}, {"request": "", "receipt": "1970-01-01"}),
    "043": ({"receipt": "2026-01-13"}, {"receipt": "2026-01-12"}),
    "044": ({"receipt": "2026-01-15"}, {"receipt": "2026-01-14", "test": "2026-01-14"}),
    "045": ({"test": "2026-01-32"}, {"test": "2026-01-12"}),
    "048": ({"report": "2026-01-11"}, {"report": "2026-01-12"}),
    "049": (
        {"test": "2025-10-31", "request": "", "receipt": "", "report": ""},
        {"test": "2025-11-01", "request": "", "receipt": "", "report": ""},
    ),
    "050": ({"test": ""}, {"test": "2026-01-12"}),
    "051": ({"test": "2026-02-18", "report": ""}, {"test": "2026-02-17", "report": ""}),
    "055": (
        {"test": "2025-07-31", "request": "", "receipt": "", "report": ""},
        {"test": "2025-08-01", "request": "", "receipt": "", "report": ""},
    ),
    "056": ({"nicip_code": "", "snomed_code": ""}, {"nicip_code": ""}),
    "057": ({"nicip_code": "ZZQ99", "snomed_code": ""}, {"nicip_code": "COLDX"}),
    "059": (
        {"snomed_code": "1234567", "nicip_code": ""},
        {"snomed_code": "", "nicip_code": "CHEAD"},
    ),
    "061": ({"report": "14 January"}, {"report": ""}),
    "062": ({"report": "2026-02-13"}, {"report": "2026-02-12"}),
    "066": ({"report": "2026-02-18"}, {"report": "2026-02-17"}),
    "067": ({"site_code": ""}, {"site_code": "RMC01"}),
    "068": ({"site_code": "XXX01"}, {"site_code": "RMC01"}),
    "069": ({"site_code": "Bolton"}, {"site_code": "RMC01"}),
    "070": ({"accession_number": ""}, {"accession_number": "1"}),
    "072": ({"accession_number": "R" * 21}, {"accession_number": "A 12/34-" + "5" * 12}),
    "073": (NOBODY, NOBODY | {"ethnic_category": "Z"}),
    "074": (NOBODY | {"postcode": "ZZ1 1ZZ"}, NOBODY | {"postcode": "BL4 0JR"}),
    "077": ({"nicip_code": "COLDX"}, {"nicip_code": "CHEAD"}),
    "078": ({"snomed_code": "429858000", "nicip_code": ""}, {"snomed_code": "408754009"}),
    "079": ({"referring_org_code": "RW6"}, {"referring_org_code": "RMC"}),
    "080": ({"gp_practice_code": "P99002"}, {"gp_practice_code": "P99001"}),
    "081": ({"site_code": "RMC99"}, {"site_code": "RMC01"}),
    "082": ({"snomed_code": "399208008"}, {"snomed_code": "408754009"}),
}


def broken_rules(
    version: int, *rows: dict[str, str], reference: DidsReference = REFERENCE
) -> list[set[str]]:
    """By row: numbers of the DIDS rules that it breaks, through the contract."""
    contract = CONTRACTS_IN[f"dids_v{version}"]
    table = read_dids(as_csv(version, *rows), contract, LONDON)
    assert isinstance(table, pl.DataFrame), table
    found = judged(
        table.with_columns(nhs_number_valid=nhs_number_is_valid(table["nhs_number"])),
        version=version,
        submitted_on=SUBMITTED,
        reference=reference,
    )
    records = found.records.with_columns(source_sha=pl.lit("s"))
    broken = violations(records, contract).select("row_no", "rule").rows()
    first = 1 if version == 1 else 2
    return [
        {rule.split("_")[1] for row_no, rule in broken if row_no == number}
        for number in range(first, first + len(rows))
    ]


@pytest.fixture(scope="module")
def found() -> dict[tuple[int, str, str], set[str]]:
    """What the failing and the passing row of each rule breaks: one validation per version."""
    broken = {}
    for version in (1, 2):
        keys, rows = [], []
        for number, pair in CASES.items():
            for kind, change in zip(("fails", "passes"), pair, strict=True):
                keys.append((version, number, kind))
                own = {"accession_number": f"{number}{kind}"}
                rows.append(GOOD | own | change)
        broken |= dict(zip(keys, broken_rules(version, *rows), strict=True))
    return broken


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("number", sorted(CASES))
def test_each_rule_turns_down_what_breaks_it_and_nothing_that_holds_it(
    number: str, version: int, found: dict[tuple[int, str, str], set[str]]
):
    """Failing means that a record lands that the national portal would refuse, or the reverse."""
    assert number in found[version, number, "fails"]
    assert number not in found[version, number, "passes"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_good_record_breaks_no_rule(version: int):
    """Failing means that good submissions are refused."""
    assert broken_rules(version, GOOD) == [set()]


@pytest.mark.parametrize("version", [1, 2])
def test_every_published_rule_is_a_rule_of_the_contract_with_its_level(version: int):
    """Failing means that a rule of the data set is checked by nobody."""
    contract = CONTRACTS_IN[f"dids_v{version}"]
    levels = {
        rule.name.split("_")[1]: rule.level
        for rule in contract.rules
        if rule.name.split("_")[1].isdigit()
    }
    assert sorted(levels) == NUMBERS
    assert {n for n, level in levels.items() if level == "warn"} == set(WARNINGS)
    assert {n for n, level in levels.items() if level == "file"} == {"075", "076"}
    assert set(CASES) | {"071", "075", "076"} == set(NUMBERS)


@pytest.mark.parametrize("version", [1, 2])
def test_an_accession_number_may_occur_once_at_a_site(version: int):
    """Failing means that rule 071 counts an exam twice, or takes two sites for one."""
    other_site = GOOD | {"site_code": "RMC99"}
    broken = broken_rules(version, GOOD, other_site, GOOD)
    assert ["071" in rules for rules in broken] == [False, False, True]


@pytest.mark.parametrize("version", [1, 2])
def test_a_line_with_another_number_of_columns_refuses_the_file(version: int):
    """Failing means that rule 075 lets values slip into other columns."""
    data = as_csv(version, GOOD, GOOD)
    contract = CONTRACTS_IN[f"dids_v{version}"]
    assert isinstance(read_dids(data, contract, LONDON), pl.DataFrame)
    for wrong in (data.rstrip(b"\n") + b",more\n", data[: data.rindex(b",")] + b"\n"):
        refused = read_dids(wrong, contract, LONDON)
        assert isinstance(refused, Refused)
        assert refused.rule.startswith("dids_075_")
        assert f"line {2 if version == 1 else 3} has" in refused.detail
        assert GOOD["nhs_number"] not in refused.detail


RECORD = (
    "<DIDS xmlns='urn:x'><DIDSRecord><PersonalAndDemographics/><Referrals/>{}</DIDSRecord></DIDS>"
)


@pytest.mark.parametrize(
    ("text", "is_sound"),
    [
        (RECORD.format("<ImagingActivity/><ImagingActivity/>"), True),
        (RECORD.format(""), False),
        (RECORD.format("<Referrals/><ImagingActivity/>"), False),
        ("<DIDS/>", False),
        ("<DIDS>", False),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>" + RECORD.format("<ImagingActivity/>"), False),
    ],
)
def test_xml_is_held_to_the_structure_of_the_data_set(text: str, is_sound: bool):
    """Failing means that rule 076 is only words."""
    assert xml_is_dids(text.encode()) is is_sound
    refused = read_dids(text.encode(), CONTRACTS_IN["dids_v1"], LONDON)
    assert isinstance(refused, Refused)
    assert refused.rule == ("is_csv" if is_sound else "dids_076_xml_has_the_structure_of_dids")
    assert "CSV" in refused.detail


def test_times_of_version_2_are_those_of_the_clock_with_its_offset():
    """Failing means that exams move by an hour, or that an unreadable end passes for none."""
    wrong = [
        ("started_at", "2026-01-12T10:31:00+02:00"),
        ("started_at", "2026-01-12T10:31:00"),
        ("ended_at", "2026-01-12T10:52:00+01:00"),
        ("report_issued_at", "2026-01-14T18:00:00-05:00"),
        ("ended_at", "2026-01-12T10:30:59Z"),
        ("ended_at", "12/01/2026"),
        ("clock_start_on", "20 December"),
    ]
    good = [("started_at", f"2026-01-12T10:31:00{zone}") for zone in ("Z", "+00:00", "-00:00")]
    rows = [
        GOOD | {"accession_number": str(n), field: value}
        for n, (field, value) in enumerate(wrong + good)
    ]
    broken = broken_rules(2, *rows)
    assert broken == [{"v2"}] * len(wrong) + [set()] * len(good)


def test_a_code_of_version_2_stays_valid_for_183_days():
    """Failing means that exams of a changed code list are refused at once, or never."""
    old = GOOD | {"nicip_code": "CVERY"}
    day = {"test": "2026-01-11", "report": "2026-01-11"}
    late, in_time, snomed = broken_rules(
        2,
        old | {"accession_number": "1"},
        old | day | {"accession_number": "2"},
        GOOD | {"nicip_code": "", "snomed_code": "16310003"},
    )
    assert "057" in late and "057" not in in_time and "059" in snomed
    assert "057" not in broken_rules(1, old)[0]


def test_a_rule_without_its_code_list_is_not_evaluable_and_turns_nothing_down():
    """Failing means that a trust without code lists cannot deliver, or believes all was checked."""
    odd = GOOD | {
        "postcode": "ZZ1 1ZZ", "gp_practice_code": "P00000", "referring_org_code": "XXX",
        "site_code": "XXX01", "nicip_code": "ZZQ99", "snomed_code": "1234567",
    }  # fmt: skip
    assert broken_rules(1, odd, reference=DidsReference()) == [set()]
    table = read_dids(as_csv(1, odd), CONTRACTS_IN["dids_v1"], LONDON)
    assert isinstance(table, pl.DataFrame)
    told = judged(
        table.with_columns(nhs_number_valid=pl.lit(True)),
        version=1,
        submitted_on=SUBMITTED,
        reference=DidsReference(),
    ).not_evaluable
    assert set(told) == {*NEEDS, "dids_057", "dids_059"}
    assert told["dids_082"] == "no code list nicip"


def test_a_file_without_any_demographic_item_says_that_the_rules_on_people_are_not_evaluable():
    """Failing means that a pseudonymised submission is refused whole, or its gap is not told."""
    blank = GOOD | NOBODY
    assert broken_rules(1, blank, blank | {"accession_number": "2"}) == [set(), set()]
    assert "073" in broken_rules(1, GOOD, blank | {"accession_number": "2"})[1]


def test_a_code_list_that_cannot_be_read_names_its_file(tmp_path):
    """Failing means that a broken list turns every record down, or none."""
    (tmp_path / "sites.csv").write_text("code,opened_on\nRMC01,\n")
    with pytest.raises(ReferenceProblem, match=r"sites\.csv.*closed_on"):
        DidsReference.load(tmp_path)
    (tmp_path / "sites.csv").write_text("code,opened_on,closed_on\nRMC01,1 May 2020,\n")
    with pytest.raises(ReferenceProblem, match=r"sites\.csv.*YYYY-MM-DD"):
        DidsReference.load(tmp_path)
    (tmp_path / "sites.csv").write_text("code,opened_on,closed_on\nRMC01,2020-05-01,\n")
    sites = DidsReference.load(tmp_path).sites
    assert sites is not None and sites.rows() == [("RMC01", date(2020, 5, 1), None)]
    assert DidsReference.load(tmp_path / "nowhere") == DidsReference()
