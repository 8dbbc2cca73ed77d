"""Every path, secret and switch of the pipelines, read from the environment in one place."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.demo import LANDING_STAMP

PROJECT_ROOT = Path(__file__).resolve().parent.parent
# Read by the dbt project: a UTC instant; what landed later is not read.
AS_KNOWN_ON = "IMAGING_AS_KNOWN_ON"
DEFAULT_KEY_FILE = Path.home() / ".config" / "imaging-network-warehouse" / "keys.json"


class Settings(BaseSettings):
    """Settings of the pipelines; each field is the environment variable IMAGING_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="IMAGING_", extra="ignore")

    home: Path = Field(
        PROJECT_ROOT / "var",
        description="Folder of all state: landing, warehouse, published files, logs.",
    )
    inbox: Path | None = Field(None, description="Where source files arrive; default HOME/inbox.")
    key_file: Path = Field(
        DEFAULT_KEY_FILE,
        description="Pseudonymisation, event-identity and storage keys; keep it off the data disk.",
    )
    contracts: Path = Field(PROJECT_ROOT / "data_contracts", description="ODCS data contracts.")
    hl7_feeds: Path = Field(
        PROJECT_ROOT / "pipelines" / "sources" / "hl7_feeds",
        description="Folder of feed files, one per HL7 sender that differs (TOML, docs/hl7.md).",
    )
    dbt_project: Path = Field(PROJECT_ROOT / "dbt_project", description="The dbt project.")
    keep_builds: int = Field(5, ge=2, description="Published builds kept for rollback.")
    inbox_retention_days: int = Field(
        7, ge=0, description="Days a source file stays in the inbox after it has landed."
    )
    spool: Path | None = Field(
        None, description="Where receivers keep what they were sent, encrypted; default HOME/spool."
    )
    spool_segment_mb: int = Field(64, ge=1, description="A spool segment is closed at this size.")
    spool_segment_seconds: int = Field(
        300,
        ge=1,
        description="A spool segment is closed at this age, and can then be harvested; of HL7 "
        "see IMAGING_RECEIVE_HL7_SEGMENT_SECONDS.",
    )
    spool_free_mb: int = Field(
        512, ge=0, description="Receivers refuse while less than this is free on the spool's disk."
    )
    spool_retention_days: int = Field(
        7, ge=0, description="Days a spool segment is kept after it has landed."
    )
    receive_dicom_host: str = Field(
        "127.0.0.1", description="Address that the DICOM receiver listens on."
    )
    receive_dicom_port: int = Field(11112, description="Port of the DICOM receiver.")
    receive_dicom_ae_title: str = Field(
        "IMAGING", description="AE title of the DICOM receiver; senders must call it by this."
    )
    receive_dicom_callers: Path | None = Field(
        None,
        description="TOML list of the AE titles that may send; default HOME/dicom_callers.toml.",
    )
    receive_dicom_accept: Literal["all", "dose_reports"] = Field(
        "all", description="Storage classes accepted: all listed ones, or dose reports only."
    )
    receive_dicom_associations: int = Field(
        10, ge=1, description="Associations that the DICOM receiver holds at once."
    )
    receive_dicom_header_mb: int = Field(
        16, ge=1, description="Largest header of an object; a larger one is refused."
    )
    receive_hl7_host: str = Field(
        "127.0.0.1", description="Address that the HL7 receiver listens on."
    )
    receive_hl7_listeners: Path | None = Field(
        None,
        description="TOML list of ports, parties and senders' addresses; default "
        "HOME/hl7_listeners.toml.",
    )
    receive_hl7_connections: int = Field(
        64, ge=1, description="Connections that the HL7 receiver holds at once."
    )
    receive_hl7_message_mb: int = Field(
        16, ge=1, description="Largest HL7 message; a larger one is refused."
    )
    receive_hl7_idle_seconds: int = Field(
        3600, ge=1, description="Seconds that a connection to the HL7 receiver may be silent."
    )
    receive_hl7_segment_seconds: int = Field(
        3600,
        ge=1,
        description="Age at which a segment of HL7 messages is closed, and can then be harvested; "
        "each gives a landing file per feed.",
    )
    receive_audit_host: str = Field(
        "127.0.0.1", description="Address that the audit receiver listens on."
    )
    receive_audit_listeners: Path | None = Field(
        None,
        description="TOML list of ports, transports, parties and senders' addresses of the audit "
        "receiver; default HOME/audit_listeners.toml.",
    )
    receive_audit_connections: int = Field(
        64, ge=1, description="Connections that the audit receiver holds at once."
    )
    receive_audit_message_mb: int = Field(
        4, ge=1, description="Largest audit message; the connection of a larger one is closed."
    )
    receive_audit_idle_seconds: int = Field(
        86_400, ge=1, description="Seconds that a connection to the audit receiver may be silent."
    )
    receive_tls_certificate: Path | None = Field(
        None, description="Certificate (PEM) of the receivers; with it they speak TLS only."
    )
    receive_tls_key: Path | None = Field(None, description="Private key of that certificate.")
    receive_tls_authority: Path | None = Field(
        None, description="Authority (PEM) that must have signed the certificates of senders."
    )
    archives: Path | None = Field(
        None,
        description="Which archives are asked for their series, and how (TOML, docs/archives.md); "
        "default HOME/archives.toml.",
    )
    dids_reference: Path | None = Field(
        None,
        description="Folder of the national code lists that rules of DIDS look into "
        "(docs/extracts.md); default HOME/dids_reference.",
    )
    harvest_workers: int = Field(2, ge=1, description="Processes that read DICOM headers.")
    harvest_compare_share: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Share of the DICOM headers of a harvest, at least 20, that pydicom reads once "
        "more for comparison; 0 compares none.",
    )
    harvest_pydicom_limit: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the DICOM headers of a harvest that only pydicom could read, beyond "
        "which a check warns.",
    )
    alerts: Path | None = Field(
        None,
        description="Who is told of signals, late feeds and missed targets (TOML, docs/alerts.md); "
        "default HOME/alerts.toml.",
    )
    alerts_from: str = Field("", description="Sender's address of alerts by e-mail.")
    alerts_smtp_host: str | None = Field(None, description="Mail server for alerts.")
    alerts_smtp_port: int = Field(587, description="Port of that mail server.")
    alerts_smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How mail is encrypted; with none no password is sent."
    )
    alerts_smtp_user: str | None = Field(None, description="User at the mail server, if it asks.")
    alerts_smtp_password_file: Path | None = Field(
        None, description="File that holds that user's password in one line."
    )
    alerts_smtp_authority: Path | None = Field(
        None, description="Authority (PEM) of the mail server; default those of the system."
    )
    alerts_seconds: float = Field(
        10, gt=0, description="Seconds that a mail server or webhook may be silent."
    )
    dashboards_url: str = Field(
        "http://127.0.0.1:8501", description="Address of the dashboards in the links of alerts."
    )
    publish_unsuppressed: bool = Field(
        False, description="Allow a file with real, unsuppressed rows to be published."
    )
    is_synthetic: bool = Field(
        False, description="The data are synthetic; every page and the published file say so."
    )
    dashboards_port: int = Field(8501, description="Port of the dashboards on 127.0.0.1.")
    dagster_port: int = Field(3000, description="Port of the Dagster interface on 127.0.0.1.")

    @property
    def seeds(self) -> Path:
        """Network and national seeds (CSV), the same that dbt builds from."""
        return self.dbt_project / "seeds"

    @property
    def synthetic_stamp(self) -> Path:
        """File that says that the inbox was filled by `imaging demo`."""
        return self.home / "synthetic.json"

    @property
    def holds_synthetic_data(self) -> bool:
        """True when the settings say so, or when an invented network has filled this home."""
        stamps = (self.synthetic_stamp, self.landing_dir / LANDING_STAMP)
        return self.is_synthetic or any(stamp.exists() for stamp in stamps)

    @property
    def inbox_dir(self) -> Path:
        """Folder that source files are delivered to, one subfolder per feed and day."""
        return self.inbox or self.home / "inbox"

    @property
    def archives_file(self) -> Path:
        """Which archives are asked for their series, and how; need not exist."""
        return self.archives or self.home / "archives.toml"

    @property
    def alerts_file(self) -> Path:
        """Who is told of what; need not exist."""
        return self.alerts or self.home / "alerts.toml"

    @property
    def alerts_dir(self) -> Path:
        """Folder of what was sent and what is muted."""
        return self.home / "alerts"

    @property
    def dids_reference_dir(self) -> Path:
        """Folder of national code lists; need not exist."""
        return self.dids_reference or self.home / "dids_reference"

    @property
    def landing_dir(self) -> Path:
        """Folder of the immutable landing Parquet files, one subfolder per landing table."""
        return self.home / "landing"

    @property
    def quarantine_dir(self) -> Path:
        """Folder of encrypted rejected records, kept for replay."""
        return self.home / "quarantine"

    @property
    def spool_dir(self) -> Path:
        """Folder of the encrypted spools of the receivers, one subfolder per receiver."""
        return self.spool or self.home / "spool"

    @property
    def dicom_callers_file(self) -> Path:
        """List of the AE titles that may send to the DICOM receiver."""
        return self.receive_dicom_callers or self.home / "dicom_callers.toml"

    @property
    def hl7_listeners_file(self) -> Path:
        """List of the ports of the HL7 receiver, with party and addresses of their senders."""
        return self.receive_hl7_listeners or self.home / "hl7_listeners.toml"

    @property
    def audit_listeners_file(self) -> Path:
        """List of the ports of the audit receiver, with party and addresses of their senders."""
        return self.receive_audit_listeners or self.home / "audit_listeners.toml"

    def segment_seconds(self, feed_kind: str) -> int:
        """Age at which a segment of a receiver's spool is closed."""
        is_hl7 = feed_kind == "hl7"
        return self.receive_hl7_segment_seconds if is_hl7 else self.spool_segment_seconds

    @property
    def warehouse_file(self) -> Path:
        """DuckDB file that dbt builds; nobody serves it."""
        return self.home / "warehouse.duckdb"

    @property
    def build_stamp(self) -> Path:
        """Small file that names the inputs of the last complete build of the warehouse."""
        return self.home / "build.json"

    @property
    def building_note(self) -> Path:
        """Small file that names the inputs of the build under way."""
        return self.home / "building.json"

    @property
    def published_dir(self) -> Path:
        """Folder of the published files and the manifest; all that dashboards read."""
        return self.home / "published"

    @property
    def history_dir(self) -> Path:
        """Folder of what each publication changed, one small file per build; kept for good."""
        return self.home / "history"

    @property
    def recomputed_dir(self) -> Path:
        """Folder of warehouses as known on an earlier instant; may be deleted at any time."""
        return self.home / "recomputed"

    @property
    def gate_dir(self) -> Path:
        """Folder of the verdicts of the gate, one small file per check."""
        return self.home / "gate"

    @property
    def log_file(self) -> Path:
        """What dbt and Dagster print during a run."""
        return self.home / "logs" / "run.log"

    @property
    def dagster_home(self) -> Path:
        """Dagster's embedded storage."""
        return self.home / "dagster_home"

    def dbt_environment(self, warehouse: Path | None = None) -> dict[str, str]:
        """Variables of a process of dbt that builds a warehouse, by default that of this home.

        dbt's profile names the file by HOME, for a process that has its folder as HOME: dbt keeps
        what it has parsed as long as its profile is the same text, and parses for seconds else.
        """
        file = (warehouse or self.warehouse_file).resolve()
        return {
            "HOME": str(file.parent),
            "IMAGING_WAREHOUSE": f"~/{file.name}",
            "IMAGING_LANDING": str(self.landing_dir.resolve()),
        }


def environment_value(name: str) -> str | None:
    """Value of a variable that a file of settings names, for example the password of an archive."""
    return os.environ.get(name)


def environment_as_known(settings: Settings, warehouse: Path, until: datetime) -> dict[str, str]:
    """Variables of a dbt that builds another warehouse from what had landed until an instant."""
    return (
        dict(os.environ)
        | settings.dbt_environment(warehouse)
        | {
            AS_KNOWN_ON: until.astimezone(UTC).isoformat(),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
    )


@contextmanager
def environment_of_dbt(settings: Settings) -> Generator[None]:
    """The environment in which to start a process of dbt; it is put back afterwards."""
    places = settings.dbt_environment()
    before = {name: os.environ.get(name) for name in places}
    os.environ.update(places)
    try:
        yield
    finally:
        for name, place in before.items():
            if place is None:
                del os.environ[name]
            else:
                os.environ[name] = place


def export_environment(settings: Settings) -> None:
    """Hand dbt, Dagster and child processes the places that these settings name."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    places = settings.dbt_environment()
    # Only a process of dbt has another HOME than its user's.
    os.environ.update({name: place for name, place in places.items() if name != "HOME"})
    # Only a recomputation looks back; a build that did would publish old figures as new.
    os.environ.pop(AS_KNOWN_ON, None)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home.resolve())
    os.environ["IMAGING_HOME"] = str(settings.home.resolve())
    os.environ["IMAGING_IS_SYNTHETIC"] = str(settings.holds_synthetic_data).lower()
    # dagster-dbt and `dagster dev` look their tools up on the path.
    tools = str(Path(sys.executable).parent)
    if tools not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([tools, os.environ["PATH"]])
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
