"""Merges and changed numbers on their way from a message to landing."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from pipelines.harvest import harvest
from pipelines.harvest.model import Setup
from pipelines.sources.inbox import Delivery

NOW = datetime(2026, 5, 23, 6, tzinfo=UTC)
MERGE = (
    "MSH|^~\\&|PAS|RMC|NET|HUB|{sent}||ADT^A40^ADT_A39|{control}|P|2.5.1|||AL|NE|GBR|UNICODE UTF-8\r"
    "EVN|A40|20260522081500||||20260522081430\r"
    "PID|1||A0012345^^^RMC^MR~9997004019^^^NHS^NH||TESTPATIENT^HARTLEY^^^MS||19610203|F\r"
    "MRG|{given_up}\r"
)
REPLACED = (
    "MSH|^~\\&|RIS|RMC|NET|HUB|20260522090000||OMG^O19|{control}|P|2.4|||AL|NE|GBR|UNICODE UTF-8\r"
    "PID|1||A0012345^^^RMC^MR||TESTPATIENT^HARTLEY^^^MS||19610203|F\r"
    "ORC|{order}|OC1^EPR|{number}^RIS||SC||||20260522085900\r"
    "OBR|1|OC1^EPR|{number}^RIS|CABPVC^CT Abdomen^NICIP||20260512091400"
    "||||||||||||{number}||||||CT\r"
)


def delivered(folder: Path, day: int, *messages: str) -> Delivery:
    path = folder / "inbox" / "hl7" / f"2026-05-{day}" / f"RMC_202605{day}.hl7"
    path.parent.mkdir(parents=True)
    path.write_bytes("".join(f"\x0b{text}\x1c\r" for text in messages).encode())
    return Delivery("hl7", path, date(2026, 5, day))


def landed(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "landing" / "imaging_events" / "*.parquet")


def test_a_merge_lands_once_however_often_it_is_sent_and_never_between_two_authorities(
    new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that a replay merges anew, or that the numbers of two trusts become one."""
    setup = new_setup(tmp_path)
    own = MERGE.format(sent="20260522081545", control="C1", given_up="A0099001^^^RMC^MR")
    again = MERGE.format(sent="20260523070000", control="C7", given_up="A0099001^^^RMC^MR")
    foreign = MERGE.format(sent="20260522081600", control="C2", given_up="A0099001^^^RBV^MR")
    national = MERGE.format(sent="20260522081700", control="C3", given_up="9997004027^^^NHS^NH")
    first = delivered(tmp_path, 22, own, foreign, national)
    result = harvest("hl7", [first], setup, now=NOW)
    assert result.rejects_by_rule == {"merge_is_within_one_authority": 2}
    harvest("hl7", [delivered(tmp_path, 23, again)], setup, now=NOW)
    merges = landed(setup.landing.root.parent).filter(pl.col("event_type") == "patient_merged")
    assert (merges.height, merges["event_id"].n_unique()) == (2, 1)
    pairs = merges.select("patient_key", "prior_patient_key").unique()
    assert pairs.height == 1 and pairs.row(0)[0] != pairs.row(0)[1]


def test_an_order_replaced_lands_with_what_pairs_its_two_numbers(
    new_setup: Callable[..., Setup], tmp_path: Path
):
    """Failing means that nothing tells that both numbers are one exam."""
    setup = new_setup(tmp_path)
    old = REPLACED.format(control="C1", order="RU", number="RMC7700001")
    new = REPLACED.format(control="C2", order="RO", number="RMC7700002")
    harvest("hl7", [delivered(tmp_path, 22, old, new)], setup, now=NOW)
    events = landed(setup.landing.root.parent)
    changes = events.filter(pl.col("event_type") == "exam_reidentified")
    assert changes["status_raw"].str.slice(0, 7).to_list() == ["ORC1=RU", "ORC1=RO"]
    assert changes["placer_id"].n_unique() == 1 and changes["exam_key"].n_unique() == 2
