"""The kinds of feed: what each brings, the contract it is held to, the table it lands in."""

from dataclasses import dataclass

WORKBOOK = "monthly_workbook"


@dataclass(frozen=True)
class FeedKind:
    """One kind of feed; its name is its folder in the inbox.

    `registered_as` is the kind under which the registry of feeds knows it, where that is another;
    the two share feed ids there, receipts and freshness keep them apart by kind.
    `lands_beside` are tables that get more of the same records, which no receipt of it counts.
    """

    name: str
    contract: str
    landing_table: str
    description: str
    registered_as: str | None = None
    lands_beside: tuple[str, ...] = ()

    def tables(self) -> tuple[str, ...]:
        """Landing tables that this kind of feed writes."""
        return (self.landing_table, *self.lands_beside)


FEEDS = {
    feed.name: feed
    for feed in (
        FeedKind(
            "ris_extract",
            "ris_extract",
            "imaging_events",
            "RIS extracts: the history of exams of each party, one row per exam.",
        ),
        FeedKind(
            "hl7",
            "hl7_messages",
            "imaging_events",
            "HL7 v2 messages: orders, appointments, status changes and reports as they happen.",
        ),
        FeedKind(
            "epic_audit",
            "epic_audit",
            "imaging_events",
            "Audits of imaging orders (Epic ORDER_RAD_AUDIT or alike), one row per action.",
        ),
        FeedKind(
            "fhir",
            "fhir",
            "imaging_events",
            "FHIR R4 resources as NDJSON: requests, procedures, studies and reports.",
        ),
        FeedKind(
            "dids_v1",
            "dids_v1",
            "imaging_events",
            "National submissions (DIDS) of version 1: exams done, by day.",
            registered_as="dids",
        ),
        FeedKind(
            "dids_v2",
            "dids_v2",
            "imaging_events",
            "National submissions (DIDS) of version 2: exams done, with times.",
            registered_as="dids",
        ),
        FeedKind(
            "image_access",
            "image_access",
            "imaging_events",
            "Audit messages of archives and viewers (RFC 3881, DICOM PS3.15): who opened which study, "
            "what was sent where.",
        ),
        FeedKind(
            "dicom",
            "dicom_files",
            "dicom_headers",
            "Headers of DICOM files: what was acquired where and when; pixels are never read. Of "
            "dose reports also the irradiation events.",
            lands_beside=("dose_events",),
        ),
        FeedKind(
            "dicom_series",
            "dicom_series",
            "dicom_series",
            "Series lists of an archive: when it had each series, first and last acquisition and "
            "number of images; beside files, or where an archive is too large to be read so.",
            registered_as="dicom",
        ),
        FeedKind("rota", "rota", "rota_sessions", "Staffed scanner sessions of the coming week."),
        FeedKind(
            "opening_hours", "opening_hours", "opening_hours", "Opening hours of the scanners."
        ),
        FeedKind(
            "downtime",
            "downtime",
            "downtime",
            "Downtimes of scanners and image systems, planned and unplanned.",
        ),
        FeedKind(
            "go_lives", "go_lives", "go_lives", "Go-live dates of the programme by party and type."
        ),
        FeedKind(
            "benefit_register",
            "benefit_register",
            "benefit_register",
            "Register of the promised benefits.",
        ),
        FeedKind("unit_costs", "unit_costs", "unit_costs", "Unit costs that value a benefit."),
        *(
            FeedKind(name, name, name, description)
            for name, description in (
                ("meeting_lists", "Cases of the multidisciplinary meetings."),
                ("image_transfers", "Images sent to other trusts by portal, disc or courier."),
                ("reporting_rota", "Rostered reporting sessions of teams, with their pay type."),
                ("outsourcing_invoices", "Invoice lines of bought reports and insourced sessions."),
                ("storage", "Terabytes of images held, where, and at what cost."),
                ("contract_lines", "Contracts of image systems, discs and courier journeys."),
                ("workforce", "Posts, staff in post, leavers, agency and bank hours."),
                ("admissions", "Discharges of inpatients who were imaged."),
                ("staff_survey", "Scores of the staff survey by staff group."),
                ("booking_diary", "Slots of the booking diary, past and next six weeks."),
                ("time_studies", "Measured minutes of tasks."),
                ("dm01_extract", "Published diagnostic waits of every provider of the country."),
            )
        ),
        FeedKind(
            WORKBOOK,
            WORKBOOK,
            WORKBOOK,
            "Sign-off of a monthly workbook; each sheet lands as a delivery of its own feed.",
            lands_beside=(
                "downtime",
                "reporting_rota",
                "outsourcing_invoices",
                "storage",
                "contract_lines",
                "workforce",
                "admissions",
                "staff_survey",
                "time_studies",
            ),
        ),
    )
}

# Feed kinds that receivers bring, each with a spool of its own.
RECEIVED = ("dicom", "hl7", "image_access")
