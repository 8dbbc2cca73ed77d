"""One archive, five ways into landing: the same series under the same keys, with the same values."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest
import requests

from pipelines.harvest import Setup, dicom_delivery, harvest, harvest_spool
from pipelines.receivers.dicom_callers import Callers, storage_classes
from pipelines.receivers.dicom_store import DicomReceiver, Listening
from pipelines.receivers.spool import Limits, SpoolWriter
from pipelines.sources.inbox import deliveries
from tests.orthanc import AE_TITLE, PASSWORD, USER, encoded, running_orthanc
from tests.pipelines.receivers.conftest import STORAGE_KEY
from tests.pipelines.sources.test_dicom_archives import SERIES, asked_from, images

NOW = datetime(2026, 1, 27, 6, tzinfo=UTC)
DAY = date(2026, 1, 26)
ASKED = ("qido", "cfind", "changes")
# Columns of a series list, and what tells the same in headers.
COLUMNS = {
    "study_instance_uid": "study_instance_uid",
    "accession_number": "accession_number",
    "patient_id": "patient_id",
    "modality": "modality",
    "station_name": "station_name",
    "device_serial_number": "device_serial_number",
    "station_ae_title": "performed_station_ae_title",
    "manufacturer": "manufacturer",
    "manufacturer_model_name": "manufacturer_model_name",
    "software_versions": "software_versions",
    "institution_name": "institution_name",
}


def of_lists(setup: Setup) -> pl.DataFrame:
    """Series as a list told them."""
    return setup.landing.read("dicom_series").select(
        "series_instance_uid",
        *COLUMNS,
        pl.col("number_of_series_related_instances").alias("images"),
        started="first_acquired_at_local",
    )


def of_headers(setup: Setup) -> pl.DataFrame:
    """Series rolled up from headers; the time of a series is what an archive's list tells."""
    headers = setup.landing.read("dicom_headers")
    time = pl.coalesce(
        pl.col("series_date") + pl.col("series_time"), pl.col("study_date") + pl.col("study_time")
    )
    started = time.str.replace(r"\..*", "").str.to_datetime("%Y%m%d%H%M%S")
    fraction = time.str.extract(r"\.(\d+)").str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    return (
        headers.with_columns(
            started=(started + pl.duration(microseconds=fraction)).cast(pl.Datetime("us")),
        )
        .group_by("series_instance_uid")
        .agg(
            *(
                pl.col(header).replace("", None).min().alias(name)
                for name, header in COLUMNS.items()
            ),
            pl.len().cast(pl.Int64).alias("images"),
            pl.col("started").min(),
        )
    )


@pytest.fixture(scope="module")
def routes(
    new_setup: Callable[..., Setup], inbound, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pl.DataFrame]:
    """Series in landing by route, in order of their key; each route has a home of its own."""
    folder = tmp_path_factory.mktemp("routes")
    objects = images()
    found: dict[str, pl.DataFrame] = {}
    spool = SpoolWriter(folder / "spool", STORAGE_KEY, limits=Limits(free_bytes=0))
    receiver = DicomReceiver(
        spool, Callers({AE_TITLE: "dicom_RMC"}), storage_classes("all"), Listening(port=0)
    )
    receiver.start()
    target = {"warehouse": ["IMAGING", "127.0.0.1", receiver.port]}
    with running_orthanc(folder / "archive", DicomModalities=target) as archive:
        archive.store(objects)
        sent = requests.post(
            f"{archive.url}/modalities/warehouse/store",
            json=archive.get("/studies"),
            auth=(USER, PASSWORD),
            timeout=300,
        )
        sent.raise_for_status()
        assert sent.json()["FailedInstancesCount"] == 0
        for route in ASKED:
            asked = asked_from(folder / route, archive, inbound["dicom_series"].column_names())
            asked.ask(route)
            setup = new_setup(folder / route)
            harvest("dicom_series", deliveries(asked.places.inbox, "dicom_series"), setup, now=NOW)
            found[route] = of_lists(setup).unique("series_instance_uid")
    receiver.stop()
    spool.close()
    setup = replace(new_setup(folder / "store"), spools={"dicom": folder / "spool"})
    harvest_spool("dicom", setup, now=NOW)
    found["store"] = of_headers(setup)
    place = folder / "files" / "inbox" / "dicom" / str(DAY) / "RMC"
    place.mkdir(parents=True)
    for number, one in enumerate(objects):
        (place / f"{number}.dcm").write_bytes(encoded(one))
    setup = new_setup(folder / "files")
    harvest("dicom", [dicom_delivery(place, DAY)], setup, now=NOW)
    found["files"] = of_headers(setup)
    return {route: rows.sort("series_instance_uid") for route, rows in found.items()}


def test_every_route_lands_the_same_series(routes: dict[str, pl.DataFrame]):
    """Failing means that a series is lost, doubled or hashed otherwise on one of the ways."""
    keys = {route: rows["series_instance_uid"].to_list() for route, rows in routes.items()}
    assert set(keys) == {*ASKED, "store", "files"}
    for route, found in keys.items():
        assert len(found) == len(set(found)) == SERIES, route
        assert found == keys["files"], route


def test_every_route_lands_the_same_values(routes: dict[str, pl.DataFrame]):
    """Failing means that figures change when an archive is connected another way."""
    for route, rows in routes.items():
        assert rows["images"].sum() == len(images()), route
        assert rows.select(routes["files"].columns).equals(routes["files"]), route
