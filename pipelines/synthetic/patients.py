"""Invented patients: no real person, NHS numbers from the test range 999."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.synthetic import calendar

if TYPE_CHECKING:
    from pipelines.network import Network

PATIENTS_AT_FULL_SCALE = 7_000_000
# The range 999 holds some 909,000 numbers with a usable check digit; larger networks share them.
MOST_PATIENTS = 900_000

# Day on which the ages are drawn; the youngest are born years later.
AGES_ON = date(2022, 7, 1)
_YOUNGEST, _YOUNG_RATE = -6, 0.13
# How much likelier a patient lives in a sector of an own postcode area than in another.
_NEARER = 12.0

_SURNAMES = (
    "Testwell", "Oakhurst", "Brönte", "Fairclough-Ame", "Ó Maille", "Khánam", "Nowaczyk",
    "Ashgrove", "Lindqvist", "Müllerson", "Adébayo", "Ramsbottomly", "Tannerby", "Iqbalson",
    "Céleste", "Heywoodson", "Jagiełło", "Prestwichton", "Sørby", "D'Arcett", "Whitmoor",
    "Chaudharie", "Ngozika", "Eccleshaw", "Worsleyan", "Hülsmann", "Bramhallow", "Okonjola",
    "Peelham", "Zoltáni",
)  # fmt: skip
_FEMALE = (
    "Zoë", "Amelia", "Siân", "Fatima", "Chloé", "Margaret", "Edith", "Aïcha", "Priya", "Łucja",
    "Hannah", "Noor", "Beatrice", "Renée", "Joyce", "Oluchi", "Björk", "Kathleen",
)  # fmt: skip
_MALE = (
    "José", "Arthur", "Seán", "Imran", "Łukasz", "Harold", "Björn", "Thomas", "André", "Kwame",
    "Ronald", "Yusuf", "Callum", "Günther", "Stanley", "Arjun", "Matthew", "Ömer",
)  # fmt: skip
# Ethnic categories of the national data sets, with rough shares; Z is "not stated".
_ETHNIC = {
    "A": 0.66, "B": 0.01, "C": 0.03, "D": 0.01, "E": 0.005, "F": 0.008, "G": 0.008, "H": 0.03,
    "J": 0.08, "K": 0.015, "L": 0.02, "M": 0.012, "N": 0.03, "P": 0.005, "R": 0.012, "S": 0.015,
    "Z": 0.05,
}  # fmt: skip
_POSTCODE_LETTERS = "ABDEFGHJLNPQRSTUWXYZ"


def check_digit(nine_digits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Modulus-11 check digit of nine-digit numbers; 10 means the number may not be used."""
    total = np.zeros(len(nine_digits), dtype=np.int64)
    for position in range(9):
        digit = (nine_digits // 10 ** (8 - position)) % 10
        total += digit * (10 - position)
    return (11 - total % 11) % 11


def nhs_numbers(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Distinct ten-digit numbers that start with 999 and have a valid check digit."""
    stems = 999_000_000 + np.arange(1_000_000, dtype=np.int64)
    digits = check_digit(stems)
    usable = np.flatnonzero(digits < 10)
    chosen = rng.choice(usable, size=count, replace=False)
    return stems[chosen] * 10 + digits[chosen]


def invent_patients(network: Network, scale: float, rng: np.random.Generator) -> pl.DataFrame:
    """One row per patient, in patient number order.

    Columns: patient_no, home_party, nhs_number, sex (1 male, 2 female, 9 unknown), birth_on,
    ethnic_category, postcode (with unit), surname, given_name.
    """
    count = min(max(800, round(PATIENTS_AT_FULL_SCALE * scale)), MOST_PATIENTS)
    parties = network.programme_parties["party_code"].to_list()
    sectors = network.postcode_deprivation["postcode_sector"].to_list()
    # Below 0: born after AGES_ON, and nobody's patient before.
    age = np.concatenate(
        [
            rng.uniform(_YOUNGEST, 17, round(count * _YOUNG_RATE)),
            rng.triangular(17, 72, 96, count - round(count * _YOUNG_RATE)),
        ]
    )
    rng.shuffle(age)
    born = calendar.day_number(AGES_ON) - (age * 365.25).astype(np.int64)
    female = rng.random(count) < 0.54
    surname = rng.integers(len(_SURNAMES), size=count)
    given = rng.integers(len(_FEMALE), size=count)
    unit = rng.integers(len(_POSTCODE_LETTERS), size=(count, 2))
    home = rng.choice(len(parties), size=count, p=_sizes(network, parties))
    sector = _near_home(home, parties, sectors, network, rng)
    letters = np.array(list(_POSTCODE_LETTERS))
    postcode = [
        f"{sectors[s]}{a}{b}"
        for s, a, b in zip(sector, letters[unit[:, 0]], letters[unit[:, 1]], strict=True)
    ]
    ethnic = rng.choice(
        list(_ETHNIC), size=count, p=np.array(list(_ETHNIC.values())) / sum(_ETHNIC.values())
    )
    return pl.DataFrame(
        {
            "patient_no": np.arange(count, dtype=np.int64),
            "home_party": [parties[i] for i in home],
            "nhs_number": nhs_numbers(count, rng).astype(str),
            "sex": np.where(rng.random(count) < 0.003, "9", np.where(female, "2", "1")),
            "birth_on": born.astype(np.int32),
            "ethnic_category": ethnic,
            "postcode": postcode,
            "surname": [_SURNAMES[i] for i in surname],
            "given_name": [
                (_FEMALE if f else _MALE)[i] for i, f in zip(given, female, strict=True)
            ],
        }
    ).with_columns(pl.col("birth_on").cast(pl.Date))


def _sizes(network: Network, parties: list[str]) -> NDArray[np.float64]:
    """Share of the patients who live with each party: that of its sites."""
    at = network.sites["party_code"].to_list()
    counts = np.array([at.count(party) for party in parties], dtype=np.float64) + 1.0
    return counts / counts.sum()


def _near_home(
    home: NDArray[np.int64],
    parties: list[str],
    sectors: list[str],
    network: Network,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Postcode sector of each patient: most live in a postcode area where their party has a site.

    A party whose sites name no area of the sectors has patients from everywhere.
    """
    areas = np.array([_area(sector) for sector in sectors])
    sites = network.sites.select("party_code", "postcode").drop_nulls().rows()
    found = np.zeros(len(home), dtype=np.int64)
    for number, party in enumerate(parties):
        own = np.isin(areas, [_area(postcode) for code, postcode in sites if code == party])
        weight = np.where(own, _NEARER, 1.0)
        mine = home == number
        found[mine] = rng.choice(len(sectors), size=int(mine.sum()), p=weight / weight.sum())
    return found


def _area(postcode: str) -> str:
    """Letters that a postcode begins with."""
    return postcode[: len(postcode) - len(postcode.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))]


def local_patient_ids(
    patient_no: NDArray[np.int64], party_index: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Hospital number of a patient in one party's index: seven digits, unique within the party."""
    prime = 9_999_991
    return (patient_no * 48_271 + party_index * 1_009 + 104_729) % prime
