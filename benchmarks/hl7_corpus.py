"""HL7 v2 messages in the kinds and shares that a radiology system sends, for speed and comparison.

Reports of 3 to 21 lines, six kinds of escapes, two character sets, other separators, and a few
messages broken in the ways that feeds break them. Same seed, same bytes. All names are invented.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

SEED = 20201016
MESSAGES = 200_000
KINDS = (("ORU", 40), ("ORM", 25), ("SIU", 20), ("OMI", 10), ("ADT", 5))
# Per thousand messages.
CUSTOM, TRUNCATED, MISNAMED, BROKEN_ID, LEADING_RETURN = 5, 2, 1, 2, 2
SEVERAL_GROUPS = 20
# MSH-18 and how the text is then written; what is empty is UTF-8.
CHARSETS = (("UNICODE UTF-8", "utf-8", 55), ("8859/1", "latin-1", 30), ("", "utf-8", 15))
USUAL, CUSTOM_SEPARATORS = "|^~\\&", "#@!%$"
SITES = ("ZZA", "ZZB", "ZZC", "ZZD", "ZZE", "ZZF", "ZZG", "ZZH")
MODALITIES = ("CT", "MR", "DX", "US", "NM", "BMD", "MG", "RF")
REGIONS = (
    "head", "neck", "chest", "abdomen", r"pelvis \T\ hips", "lumbar spine", "knee", "ankle",
    "shoulder", "hand", "whole body", r"heart \T\ great vessels",
)  # fmt: skip
SURNAMES = (
    "EXAMPLE", "TESTPATIENT", "SAMPLE", "INVENTED", "FICTION", "MÜLLER", "O'EXAMPLE", "ZOËSON",
)  # fmt: skip
GIVEN = ("HARTLEY", "RENÉE", "ZOË", "ANNE", "JOSÉ", "KIRAN", "MORGAN", "ALEX", "ROBIN", "SAM")
PHRASES = (
    "No acute abnormality is seen.",
    "Comparison is made with the study of {day} {month}.",
    "The nodule in the right upper lobe measures {size} mm, unchanged.",
    "Degenerative change at L{level}/{next}, worse on the left.",
    "Both kidneys are of normal size; the right one measures {size}.{level} cm.",
    "The visualised bowel loops are of normal calibre.",
    "There is no pleural effusion or pneumothorax.",
    "The gallbladder is thin walled and holds no calculi.",
    "Bone density lies within the range for the age of the patient.",
    "A simple cyst of {size} mm is noted in segment {level} of the liver.",
    "Ventricles and basal cisterns are of normal size and configuration.",
    "Ménière's disease was queried; the internal auditory canal is normal.",
)
ESCAPED = (
    r"Liver, spleen \T\ pancreas appear normal.",
    r"Ratio \F\RV over LV\F\ of 0.{size}.",
    r"First line.\.br\Second line of the same field.",
    r"Approximately \R\{size} mm, see series \S\{level}.",
    r"Stored below C:\E\images\E\{day}.",
    r"Slice of {size} \XB5\m.",
    r"Slice of {size} \XC2B5\m.",
)


def messages(count: int = MESSAGES) -> Iterator[bytes]:
    """Give so many messages, each without a frame and ending in a carriage return."""
    rng = random.Random(SEED)
    kinds, weights = zip(*KINDS, strict=True)
    for number in range(count):
        yield _message(rng, rng.choices(kinds, weights)[0], number)


def framed(parts: Iterator[bytes]) -> bytes:
    """Messages as MLLP sends them."""
    return b"".join(b"\x0b" + part + b"\x1c\r" for part in parts)


def _message(rng: random.Random, kind: str, number: int) -> bytes:
    charset, codec = _charset(rng)
    lines = _lines(rng, kind, number, charset)
    dice = rng.randrange(1000)
    limits = (CUSTOM, TRUNCATED, MISNAMED, BROKEN_ID, LEADING_RETURN)
    custom, truncated, misnamed, broken, leading = (
        sum(limits[: place + 1]) for place in range(len(limits))
    )
    text = "".join(line + "\r" for line in lines)
    if dice < custom:
        text = text.translate(str.maketrans(USUAL, CUSTOM_SEPARATORS))
    elif dice < truncated:
        text = text[: rng.randrange(len(lines[0]), len(text) - 2)]
    elif dice < misnamed:
        text = "MSX" + text[3:]
    elif dice < broken:
        text = text.replace("\rOBR|", "\rOBR1|")
    elif dice < leading:
        text = "\r" + text
    return text.encode(codec, errors="replace")


def _charset(rng: random.Random) -> tuple[str, str]:
    charset, codec, _ = rng.choices(CHARSETS, [weight for *_, weight in CHARSETS])[0]
    return charset, codec


def _lines(rng: random.Random, kind: str, number: int, charset: str) -> list[str]:
    site = rng.choice(SITES)
    moment = datetime(2026, 1, 5) + timedelta(seconds=rng.randrange(300 * 86_400))
    patient = rng.randrange(60_000)
    event = {
        "ORU": "ORU^R01",
        "ORM": "ORM^O01",
        "SIU": f"SIU^S1{rng.choice('2357')}",
        "OMI": "OMI^O23^OMI_O23",
        "ADT": rng.choice(("ADT^A08^ADT_A01", "ADT^A40^ADT_A39")),
    }[kind]
    version = {"SIU": "2.5.1", "OMI": "2.5.1", "ADT": "2.5.1"}.get(kind, "2.4")
    header = (
        f"MSH|^~\\&|RIS|{site}|HUB|NET|{_clock(moment)}||{event}|{site}{number:08d}|P|{version}"
        f"|||AL|NE|GBR|{charset}"
    )
    name = f"{rng.choice(SURNAMES)}^{rng.choice(GIVEN)}^^^{rng.choice(('MS', 'MR', 'MX'))}"
    person = (
        f"PID|1||{site[2]}{patient:07d}^^^{site}^MR~999{patient:07d}^^^NHS^NH||{name}||"
        f"19{patient % 90 + 10}{patient % 12 + 1:02d}{patient % 28 + 1:02d}|{'MF'[patient % 2]}|||"
        f"{patient % 200} EXAMPLE STREET^EXAMPLE PARK^TOWN^EXAMPLESHIRE^M{patient % 30} "
        f"{patient % 9}AB^GBR^H||01619990000^PRN^PH^^^0161^9990000~07700900{patient % 1000:03d}^PRN"
        f"^CP|01619990001^WPN^PH|EN|M|C22|{patient:09d}^^^{site}^AN||||Z"
    )
    practice = (
        f"PD1|||EXAMPLE MEDICAL CENTRE^^M8{patient % 400:04d}^^^NHS^ODS|"
        f"G999{patient % 900:04d}^DOCTOR^EXAMPLE^^^DR^^^NHS"
    )
    visit = (
        f"PV1|1|{rng.choice('OIE')}|CLIN{patient % 40}^ROOM {patient % 9}^^{site}^^C^MAIN|R|||"
        f"{_person('C', rng)}|{_person('C', rng)}|{_person('C', rng)}|RAD|||||||{_person('C', rng)}"
        f"|{rng.choice(('01', '02', '05'))}|V{number:07d}^^^{site}^VN|{'|' * 23}{_clock(moment)}"
    )
    if kind == "ADT":
        recorded = f"EVN|{event[4:7]}|{_clock(moment)}"
        merged = [f"MRG|{site[2]}{patient + 1:07d}^^^{site}^MR"] if "A40" in event else []
        return [header, recorded, person, practice, *merged, visit]
    groups = 1 + (rng.randrange(1000) < SEVERAL_GROUPS) * rng.randrange(1, 5)
    orders = [_Order(rng, site, number * 10 + group, moment) for group in range(groups)]
    if kind == "SIU":
        return _appointment(header, person, visit, orders[0])
    lines = [header, person, practice, visit]
    for place, order in enumerate(orders, start=1):
        lines += {"ORM": order.status, "OMI": order.imaging, "ORU": order.report}[kind](rng, place)
    return lines


def _clock(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%S}"


def _person(letter: str, rng: random.Random) -> str:
    number = rng.randrange(400)
    return f"{letter}999{number:04d}^{SURNAMES[number % 8]}^EXAMPLE^^^DR"


class _Order:
    """One order with its times, codes and people."""

    def __init__(self, rng: random.Random, site: str, number: int, moment: datetime) -> None:
        code = rng.randrange(240)
        self.site, self.modality = site, MODALITIES[code % 8]
        self.filler, self.placer = f"{site[2]}26{number:08d}^RIS", f"OC{number:08d}^EPR"
        name = f"{self.modality} {REGIONS[code % 12]}"
        self.exam, self.name = f"{self.modality[0]}{code:04d}", name
        self.code = f"{self.exam}^{name}^NICIP^{77_000_000 + code}^{name}^SCT"
        self.asked = _clock(moment - timedelta(days=3))
        self.began, self.ended = _clock(moment), _clock(moment + timedelta(minutes=14))
        self.written = _clock(moment + timedelta(hours=20, minutes=code))
        self.requester = _person("C", rng)
        self.priority = rng.choice("RUS")
        self.uid = f"2.25.{rng.randrange(10**37, 10**38)}"

    def order(self, control: str, status: str, at: str) -> str:
        """ORC of this order."""
        return (
            f"ORC|{control}|{self.placer}|{self.filler}||{status}||^^^^^{self.priority}||{at}"
            f"|||{self.requester}|||||{self.site}^Example Trust^ODS"
        )

    def request(self, place: int, began: str, ended: str, changed: str, tail: str) -> str:
        """OBR of this order; `tail` begins after OBR-24."""
        accession = self.filler.partition("^")[0]
        return (
            f"OBR|{place}|{self.placer}|{self.filler}|{self.code}||{self.asked}|{began}|{ended}"
            f"||||||{self.asked}||{self.requester}||{accession}||{self.site}01"
            f"|{self.site}{self.modality}2|{changed}||{self.modality}|{tail}"
        )

    def status(self, rng: random.Random, place: int) -> list[str]:
        """Order message: new, in progress or complete."""
        code = rng.choice(("NW", "IP", "CM"))
        if code == "NW":
            asked = self.request(place, "", "", "", f"||^^^^^{self.priority}")
            return [self.order("NW", "SC", self.asked), asked]
        ended = self.ended if code == "CM" else ""
        taker = f"R{rng.randrange(300):06d}&RADIOGRAPHER&EXAMPLE^{self.began}^{self.ended}"
        tail = f"||^^^^^{self.priority}|||||||{taker}"
        done = self.request(place, self.began, ended, self.ended, tail)
        note = f"NTE|1|L|{rng.choice(PHRASES)}"
        return [
            self.order("SC", code, self.ended),
            done,
            note,
            f"ZDS|{self.uid}^RIS^Application^DICOM",
        ]

    def imaging(self, rng: random.Random, place: int) -> list[str]:
        """Imaging order: accession and study UID in IPC only."""
        accession = self.filler.partition("^")[0]
        control = rng.choice(("NW", "CA"))
        return [
            self.order(control, {"NW": "SC", "CA": "CA"}[control], self.asked),
            f"TQ1|1||||||{self.began}||{self.priority}",
            f"OBR|{place}|{self.placer}|{self.filler}|{self.code}||||||||||||{self.requester}"
            f"||||||||{self.modality}",
            f"IPC|{accession}^RIS|RP{place}|{self.uid}^RIS|SPS{place}|{self.modality}"
            f"|{self.code}|{self.site}{self.modality}1|{self.site}01|AE{self.site}{self.modality}1",
        ]

    def report(self, rng: random.Random, place: int) -> list[str]:
        """Report of 3 to 21 lines, the study UID in an OBX of its own."""
        status = rng.choice("FFFFPRC")
        reader = f"C999{rng.randrange(400):04d}&REPORTER&EXAMPLE&&&DR^{self.written}"
        taker = f"R{rng.randrange(300):06d}&RADIOGRAPHER&EXAMPLE^{self.began}^{self.ended}"
        tail = f"{status}||^^^^^{self.priority}|||||{reader}||{taker}"
        lines = [
            self.order("RE", "CM", self.written),
            self.request(place, self.began, self.ended, self.written, tail),
        ]
        for number in range(1, rng.randrange(3, 21)):
            section = "IMP" if number % 5 == 4 else "GDT"
            lines.append(
                f"OBX|{number}|TX|{self.exam}&{section}^{self.name}^NICIP||{_sentence(rng)}||||||"
                f"{status}|||{self.written}|{self.site}|C9990007^REPORTER^EXAMPLE"
            )
        number = len(lines) - 1
        uid = f"OBX|{number}|HD|110180^Study Instance UID^DCM||{self.uid}||||||{status}"
        return [*lines, uid]


def _sentence(rng: random.Random) -> str:
    chosen = rng.choice(ESCAPED) if rng.randrange(6) == 0 else rng.choice(PHRASES)
    for name, value in (
        ("{size}", rng.randrange(2, 60)),
        ("{level}", rng.randrange(1, 5)),
        ("{next}", rng.randrange(2, 6)),
        ("{day}", rng.randrange(1, 29)),
        ("{month}", rng.choice(("March", "May", "October"))),
    ):
        if name in chosen:
            chosen = chosen.replace(name, str(value))
    return chosen


def _appointment(header: str, person: str, visit: str, order: _Order) -> list[str]:
    accession = order.filler.partition("^")[0]
    return [
        header,
        f"SCH|APT{accession}^EPR|APT{accession}^RIS||||ROUTINE|{order.code}||20|MIN|^^20"
        f"^{order.began}^{order.ended}|||||U314^CLERK^EXAMPLE|||||||||Booked"
        f"|{order.placer}|{order.filler}",
        person,
        visit,
        "RGS|1|A",
        f"AIS|1|A|{order.exam}^{order.name}^NICIP|{order.began}|||20|MIN",
        f"AIL|1|A|{order.site}{order.modality}2^^^{order.site}01|RAD^{order.modality}",
    ]
