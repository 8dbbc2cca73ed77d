"""The receiver: acknowledged means spooled, strangers stay out, and no bad peer stops the others."""

import datetime
import ipaddress
import logging
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from pipelines.receivers.dicom_callers import Callers, CallersProblem, read_callers, storage_classes
from pipelines.receivers.dicom_store import DicomReceiver
from pipelines.receivers.spool import SpoolWriter, segments
from pipelines.receivers.tls import server_context
from pipelines.sources.dicom_headers import read_headers
from pipelines.sources.dose_reports import DOSE_CLASSES, GENERAL_CLASSES
from pipelines.synthetic.dicom_encoding import part10_file
from tests.dicom_samples import written
from tests.orthanc import AE_TITLE, PASSWORD, USER, invented_image, running_orthanc
from tests.orthanc import encoded as encoded_file
from tests.pipelines.receivers.conftest import CT, associate, ct_object, spooled

NewReceiver = Callable[..., DicomReceiver]
NewSpool = Callable[..., SpoolWriter]
OF_THE_FILE = ["path", "reader", "content_sha"]
DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
IDENTITIES = ("9998887776", "Heppenstall", "Aurelia", "2.25.9001", "2.25.8002")


def headers_of(folder: Path, records) -> dict[str, dict]:
    """Harvested values of spooled records by SOP instance."""
    for number, record in enumerate(records):
        (folder / f"{number:04d}.dcm").write_bytes(record.payload)
    return by_instance(sorted(folder.glob("*.dcm")))


def by_instance(paths: list[Path]) -> dict[str, dict]:
    batch = read_headers(paths)
    assert batch.rejected.is_empty()
    rows = batch.accepted.drop(OF_THE_FILE).to_dicts()
    return {row["sop_instance_uid"]: row for row in rows}


@pytest.fixture
def read_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "read"
    folder.mkdir()
    return folder


def test_what_is_spooled_says_what_the_files_say(
    new_receiver: NewReceiver, tmp_path: Path, read_folder: Path
):
    """Failing means that a scanner's own sending lands other values than a delivered folder."""
    syntaxes = [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
    ]
    receiver, paths = new_receiver(), []
    for number, syntax in enumerate(syntaxes):
        paths.append(
            written(tmp_path, name=f"{number}.dcm", syntax=syntax, SOPInstanceUID=f"2.25.{number}")
        )
        association = associate(receiver.port, contexts=((CT, syntax),))
        assert association.send_c_store(pydicom.dcmread(paths[-1])).Status == 0x0000
        association.release()
    receiver.stop()
    receiver.spool.close()
    records = spooled(tmp_path / "spool")
    assert [(r.feed_id, r.sender) for r in records] == [("dicom_RMC", "RMC_PACS")] * len(syntaxes)
    assert headers_of(read_folder, records) == by_instance(paths)


def test_dcmtk_sends_what_its_files_say(
    new_receiver: NewReceiver, tmp_path: Path, read_folder: Path
):
    """Failing means that only our own library can talk to the receiver."""
    # of the system: a storescu on the search path may be pynetdicom's
    storescu = shutil.which("storescu", path=os.defpath)
    assert storescu, "storescu is missing: apt-get install dcmtk"
    paths = []
    for number in range(1, 6):
        ct_object(tmp_path, number)
        paths.append(tmp_path / f"{number}.dcm")
    receiver = new_receiver()
    subprocess.run(
        [storescu, "-aet", "RMC_PACS", "-aec", "IMAGING", "127.0.0.1", str(receiver.port), *paths],
        check=True,
        capture_output=True,
        timeout=60,
    )
    receiver.stop()
    receiver.spool.close()
    assert headers_of(read_folder, spooled(tmp_path / "spool")) == by_instance(paths)


def test_no_identity_is_readable_in_spool_or_log(
    new_receiver: NewReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Failing means that a copied disk or a log file names patients."""
    caplog.set_level(logging.DEBUG)
    receiver = new_receiver()
    association = associate(receiver.port)
    association.send_c_store(ct_object(tmp_path))
    association.abort()
    receiver.stop()
    receiver.spool.close()
    content = b"".join(p.read_bytes() for p in segments(tmp_path / "spool", ".closed"))
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("imaging")]
    assert any("broke off after 1 objects" in line for line in ours)
    assert len(content) > 100
    for text in IDENTITIES:
        assert text.encode() not in content
        assert text not in "\n".join(ours)
    assert b"\xab\xcd\xab\xcd" not in spooled(tmp_path / "spool")[0].payload


@pytest.mark.parametrize(
    ("title", "called"),
    [("STRANGER", "IMAGING"), ("RMC_PACS", "SOMEBODY")],
    ids=["caller", "called"],
)
def test_a_stranger_gets_no_association(
    new_receiver: NewReceiver, title: str, called: str, caplog: pytest.LogCaptureFixture
):
    """Failing means that anybody on the network can put objects into the warehouse."""
    receiver = new_receiver()
    association = associate(receiver.port, title, called=called)
    assert association.is_rejected
    receiver.stop()
    assert receiver.counts.associations_refused == 1
    assert f"association of {title} at 127.0.0.1 refused" in caplog.text


def test_a_stranger_address_gets_no_answer(new_receiver: NewReceiver):
    """Failing means that a stolen AE title is enough."""
    networks = (ipaddress.ip_network("192.0.2.0/24"),)
    receiver = new_receiver(callers=Callers({"RMC_PACS": "dicom_RMC"}, networks))
    assert not associate(receiver.port).is_established


def test_echo_is_answered_and_other_classes_are_not_accepted(
    new_receiver: NewReceiver, tmp_path: Path
):
    """Failing means that a site cannot test its connection, or sends what we do not want."""
    receiver = new_receiver(accept="dose_reports")
    syntax = ExplicitVRLittleEndian
    association = associate(receiver.port, contexts=((CT, syntax), (DOSE, syntax)))
    assert association.send_c_echo().Status == 0x0000
    assert {cx.abstract_syntax for cx in association.rejected_contexts} == {CT}
    report = ct_object(tmp_path)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = DOSE
    assert association.send_c_store(report).Status == 0x0000
    association.release()
    receiver.stop()
    assert (receiver.counts.echoes, receiver.counts.received) == (1, 1)


def structured_report(sop_class: str, title: str, syntax: str) -> pydicom.Dataset:
    """A structured report of one sentence under a title of DICOM's own codes."""
    text = {"ValueType": "TEXT", "TextValue": "a finding of somebody"}
    tree = {
        "ConceptNameCodeSequence": [{"CodeValue": title, "CodingSchemeDesignator": "DCM"}],
        "ContentSequence": [text],
        "ValueType": "CONTAINER",
        "ContinuityOfContent": "SEPARATE",
        "CompletionFlag": "COMPLETE",
    }
    named = {"SOPClassUID": sop_class, "SOPInstanceUID": "2.25.1", "StudyInstanceUID": "2.25.2"}
    return pydicom.dcmread(BytesIO(part10_file(named | tree, transfer_syntax=syntax)))


@pytest.mark.parametrize("sop_class", sorted(GENERAL_CLASSES))
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian], ids=lambda uid: uid.keyword
)
def test_only_dose_reports_keep_their_text_whatever_class_they_are_of(
    new_receiver: NewReceiver, tmp_path: Path, sop_class: str, syntax: str
):
    """Failing means that clinical reports rest in the spool, or that doses of old scanners do not."""
    receiver = new_receiver()
    association = associate(receiver.port, contexts=((sop_class, syntax),))
    dose, clinical = (structured_report(sop_class, title, syntax) for title in ("113701", "126000"))
    for report in (dose, clinical):
        assert association.send_c_store(report).Status == 0x0000
    association.release()
    receiver.stop()
    receiver.spool.close()
    kept, cut = (record.payload for record in spooled(tmp_path / "spool"))
    assert pydicom.dcmread(BytesIO(kept)).ContentSequence == dose.ContentSequence
    assert b"finding" not in cut and b"126000" not in cut
    assert pydicom.dcmread(BytesIO(cut)).StudyInstanceUID == "2.25.2"


def test_every_class_that_can_be_a_dose_report_is_taken_where_only_those_are():
    """Failing means that a site cannot send the doses that are read from its files."""
    assert storage_classes("dose_reports") >= DOSE_CLASSES | GENERAL_CLASSES


def test_an_endless_header_is_refused_for_good_and_the_next_object_is_taken(
    new_receiver: NewReceiver, tmp_path: Path
):
    """Failing means that one object can fill the memory, or is sent again for ever."""
    receiver = new_receiver(largest_header=20_000)
    association = associate(receiver.port)
    large = ct_object(tmp_path)
    large.add_new(0x00091001, "UN", b"\0" * 600_000)
    answer = association.send_c_store(large)
    assert (answer.Status, answer.ErrorComment) == (0xC000, "the header is too large")
    # Large pixels are no reason: they go by.
    pixels = ct_object(tmp_path, 2)
    pixels.PixelData = b"\0" * 600_000
    assert association.send_c_store(pixels).Status == 0x0000
    association.release()
    receiver.stop()
    assert receiver.counts.refused == {"the header is too large": 1}
    assert receiver.counts.received_bytes > 1_200_000
    assert receiver.counts.spooled_bytes < 2_000


def test_a_full_disk_is_told_to_the_sender(
    new_receiver: NewReceiver, new_spool: NewSpool, tmp_path: Path
):
    """Failing means that senders delete what was never kept."""
    receiver = new_receiver(new_spool(free_bytes=1 << 60))
    association = associate(receiver.port)
    answer = association.send_c_store(ct_object(tmp_path))
    assert (answer.Status, answer.ErrorComment) == (0xA700, "the disk of the spool is full")
    association.release()
    receiver.stop()
    receiver.spool.close()
    assert receiver.counts.received == 0
    assert spooled(tmp_path / "spool") == []


def test_one_sync_serves_several_associations(
    new_receiver: NewReceiver, new_spool: NewSpool, tmp_path: Path
):
    """Failing means that senders acknowledge each other's objects late, or lose them."""
    receiver = new_receiver()
    objects = [ct_object(tmp_path, number) for number in range(1, 41)]

    def send(chosen) -> None:
        association = associate(receiver.port)
        assert all(association.send_c_store(o).Status == 0x0000 for o in chosen)
        association.release()

    threads = [threading.Thread(target=send, args=(objects[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    receiver.stop()
    receiver.spool.close()
    assert receiver.counts.received == len(spooled(tmp_path / "spool")) == 40
    assert 1 <= receiver.spool.synced_groups <= 40


GARBAGE = {
    "not_dicom": b"GET / HTTP/1.0\r\n\r\n",
    "an_endless_unit": struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + b"\0" * 100,
    "a_broken_request": struct.pack(">BBL", 1, 0, 200) + b"\xff" * 200,
    "data_before_a_request": struct.pack(">BBL", 4, 0, 10) + b"\0" * 10,
    "half_a_unit": struct.pack(">BBL", 1, 0, 200) + b"\0" * 10,
    "nothing": b"",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_a_peer_that_sends_garbage_loses_its_connection_and_nobody_else_does(
    new_receiver: NewReceiver, tmp_path: Path, garbage: bytes
):
    """Failing means that a port scan stops the receiver or takes up its places."""
    receiver = new_receiver(most_associations=1, unit_seconds=0.5)
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as peer:
        peer.sendall(garbage)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(4096):
            pass
    for _ in range(500):
        if receiver.counts.connections_dropped:
            break
        threading.Event().wait(0.02)
    association = associate(receiver.port)
    assert association.is_established
    assert association.send_c_store(ct_object(tmp_path)).Status == 0x0000
    association.release()


def test_a_peer_that_stalls_within_a_unit_is_let_go(new_receiver: NewReceiver, tmp_path: Path):
    """Failing means that a hung sender holds a place for ever."""
    receiver = new_receiver(unit_seconds=0.3)
    association = associate(receiver.port)
    opened = association.dul.socket.socket
    opened.sendall(struct.pack(">BBL", 4, 0, 1000) + b"\0" * 10)
    for _ in range(200):
        if receiver.counts.connections_dropped:
            break
        threading.Event().wait(0.05)
    assert receiver.counts.connections_dropped == 1
    association.abort()
    assert associate(receiver.port).is_established


UNITS_OF_NONSENSE = {
    "no such kind": struct.pack(">BBL", 0xEE, 0, 4) + b"\0" * 4,
    "a broken command": struct.pack(">BBLLBB", 4, 0, 26, 22, 1, 3) + b"\xff" * 20,
    "a context nobody agreed on": struct.pack(">BBLLBB", 4, 0, 26, 22, 77, 3) + b"\0" * 20,
    "a part longer than its unit": struct.pack(">BBLLBB", 4, 0, 6, 1 << 30, 1, 0),
    "a second request": struct.pack(">BBL", 1, 0, 68) + b"\0" * 68,
}


# pynetdicom's thread of that association dies of a command that is none.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("nonsense", UNITS_OF_NONSENSE.values(), ids=UNITS_OF_NONSENSE)
def test_a_sender_that_goes_mad_loses_its_association_and_nobody_else_does(
    new_receiver: NewReceiver, tmp_path: Path, nonsense: bytes
):
    """Failing means that one broken scanner keeps the places of all, or stops the receiver."""
    receiver = new_receiver(most_associations=1, idle_seconds=0.5)
    mad = associate(receiver.port)
    assert mad.is_established
    mad.dul.socket.socket.sendall(nonsense)
    assert stores_soon(receiver.port, tmp_path) == 0x0000
    assert receiver.counts.received == 1


def test_a_sender_that_says_nothing_any_more_is_let_go(new_receiver: NewReceiver, tmp_path: Path):
    """Failing means that hung senders take all places, and nobody can send."""
    receiver = new_receiver(most_associations=1, idle_seconds=0.3)
    silent = associate(receiver.port)
    assert silent.is_established
    assert stores_soon(receiver.port, tmp_path) == 0x0000


def stores_soon(port: int, folder: Path) -> int | None:
    """The status of an object sent as soon as there is a place; None when there never is."""
    for _ in range(100):
        association = associate(port)
        if association.is_established:
            status = association.send_c_store(ct_object(folder)).Status
            association.release()
            return status
        threading.Event().wait(0.05)
    return None


def test_an_object_that_breaks_off_is_not_spooled(new_receiver: NewReceiver, tmp_path: Path):
    """Failing means that halves of objects land."""
    receiver = new_receiver()
    association = associate(receiver.port)
    large = ct_object(tmp_path)
    large.PixelData = b"\0" * (4 << 20)
    sender = threading.Thread(target=association.send_c_store, args=(large,), daemon=True)
    real, sent = association.dul.socket.send, []

    def count(data: bytes) -> None:
        sent.append(len(data))
        if len(sent) == 3:  # command and first part of the data set are on their way
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        real(data)

    vars(association.dul.socket)["send"] = count
    sender.start()
    for _ in range(200):
        if receiver.counts.connections_dropped:
            break
        threading.Event().wait(0.05)
    receiver.stop(grace=0.1)
    receiver.spool.close()
    assert len(sent) >= 3
    assert receiver.counts.received == 0
    assert spooled(tmp_path / "spool") == []


def test_more_associations_than_places_are_told_to_come_later(new_receiver: NewReceiver):
    """Failing means that a busy morning takes all memory."""
    receiver = new_receiver(most_associations=2)
    kept = [associate(receiver.port) for _ in range(2)]
    assert all(association.is_established for association in kept)
    assert associate(receiver.port).is_rejected


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = (folder / f"{name}.crt", folder / f"{name}.key")
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(paths[0]), str(paths[1])


def test_tls_lets_in_only_who_has_a_certificate_and_waits_for_nobody(
    new_receiver: NewReceiver, tmp_path: Path
):
    """Failing means that headers cross the network in the clear, or a silent peer blocks all."""
    own, sender = certificate(tmp_path, "receiver"), certificate(tmp_path, "sender")
    receiver = new_receiver(tls=server_context(*own, sender[0]))
    context = ssl.create_default_context(cafile=own[0])
    with socket.create_connection(("127.0.0.1", receiver.port)):  # never shakes hands
        assert not associate(receiver.port).is_established
        context.load_cert_chain(*sender)
        association = associate(receiver.port, tls_args=(context, "127.0.0.1"))
        assert association.is_established
        assert association.send_c_store(ct_object(tmp_path)).Status == 0x0000
        association.release()


CALLER_FAULTS = {
    "no list of callers": None,
    "is not TOML": "callers = [",
    "names no caller": "addresses = []",
    "no AE title": '[callers]\nA_TITLE_OF_SEVENTEEN = "RMC"',
    "has no feed dicom_XXX": '[callers]\nPACS = "XXX"',
    "addresses": 'addresses = ["10.0.0.1/8"]\n[callers]\nPACS = "RMC"',
}


@pytest.mark.parametrize(("message", "text"), CALLER_FAULTS.items(), ids=CALLER_FAULTS)
def test_a_faulty_list_of_callers_is_named(tmp_path: Path, message: str, text: str | None):
    """Failing means that a receiver starts with a list other than its operator meant."""
    path = tmp_path / "dicom_callers.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CallersProblem, match=message) as problem:
        read_callers(path, {"dicom_RMC"})
    assert str(path) in str(problem.value)


def test_callers_send_for_their_party(tmp_path: Path):
    """Failing means that patients are hashed with the issuer of another trust."""
    path = tmp_path / "dicom_callers.toml"
    path.write_text('addresses = ["10.0.0.0/8"]\n[callers]\nPACS = "RMC"\n')
    callers = read_callers(path, {"dicom_RMC"})
    assert callers.feeds == {"PACS": "dicom_RMC"}
    assert callers.may_connect("10.1.2.3")
    assert not callers.may_connect("192.0.2.1")


def test_an_archive_routes_studies_to_the_receiver(
    new_receiver: NewReceiver, tmp_path: Path, read_folder: Path
):
    """Failing means that a real archive's routing rule does not reach the warehouse."""
    receiver = new_receiver(callers=Callers({AE_TITLE: "dicom_RMC"}))
    target = {"warehouse": ["IMAGING", "127.0.0.1", receiver.port]}
    images = [
        invented_image(study, series, image)
        for study in range(4)
        for series in (1, 2)
        for image in (1, 2, 3)
    ]
    with running_orthanc(tmp_path / "archive", DicomModalities=target) as archive:
        archive.store(images)
        answer = requests.post(
            f"{archive.url}/modalities/warehouse/store",
            json=archive.get("/studies"),
            auth=(USER, PASSWORD),
            timeout=120,
        )
        answer.raise_for_status()
        assert answer.json()["FailedInstancesCount"] == 0
    receiver.stop()
    receiver.spool.close()
    paths = []
    for number, image in enumerate(images):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(encoded_file(image))
    assert headers_of(read_folder, spooled(tmp_path / "spool")) == by_instance(paths)
