"""One entry per page of the dashboards: who it is for, what it answers, what can be chosen."""

from dataclasses import dataclass

from dashboards.auth.principal import ADMIN, ANALYST, DEMO, EVERYBODY, STEWARD, TRUST, Principal
from dashboards.data.filters import ALL_MONTHS, LAST_12


@dataclass(frozen=True)
class Entry:
    """One page; view is the file in views/, and its name in the address."""

    reader: str
    view: str
    title: str
    icon: str
    question: str
    pick_organisation: bool = True
    pick_modality: bool = True
    pick_test: bool = False
    pick_months: bool = True
    default_period: str = LAST_12
    pick_effect: bool = False
    # Time and kind of the record of access, on the page that reads it back.
    pick_record: bool = False
    # The page shows the file that typed SQL is asked of.
    is_typed: bool = False
    # Who may open the page; whose rows it shows is a matter of the file, not of the page.
    roles: tuple[str, ...] = EVERYBODY

    def is_open_to(self, principal: Principal) -> bool:
        """The role may open this page; a demo user opens all."""
        return principal.role in (DEMO, *self.roles)


ENTRIES = (
    Entry(
        reader="Board",
        view="benefits_summary",
        title="Benefits summary",
        icon=":material/flag:",
        question="Are the promises arriving?",
        # By modality most counts of a party are too small to be told to a board.
        pick_modality=False,
        # The go-lives are years back; a board that sees twelve months sees no change.
        default_period=ALL_MONTHS,
    ),
    Entry(
        reader="Board",
        view="go_live_effect",
        title="Effect of go-live",
        icon=":material/query_stats:",
        question="Did the go-lives change what was promised, and how sure is that?",
        pick_organisation=False,
        pick_modality=False,
        pick_months=False,
        pick_effect=True,
    ),
    Entry(
        reader="Trust manager",
        view="throughput",
        title="Throughput",
        icon=":material/bar_chart:",
        question="How much imaging is asked for, done and reported?",
    ),
    Entry(
        reader="Trust manager",
        view="waiting_times",
        title="Waiting times",
        icon=":material/schedule:",
        question="How long do people wait for the test, and then for the report?",
        pick_test=True,
    ),
    Entry(
        reader="Trust manager",
        view="scanner_utilisation",
        title="Scanner utilisation",
        icon=":material/radiology:",
        question="How much of the staffed time are scanners in use?",
    ),
    Entry(
        reader="Trust manager",
        view="image_access",
        title="Image access",
        icon=":material/visibility:",
        question="Who opens images from where, and do they come up?",
        pick_modality=False,
    ),
    Entry(
        reader="Trust manager",
        view="what_if",
        title="What if",
        icon=":material/tune:",
        question="What would bring the waiting list to its target, and what if benefits came late?",
        pick_months=False,
    ),
    Entry(
        reader="Staff",
        view="staff",
        title="Staff",
        icon=":material/groups:",
        question="Is the work of reporting moving, is it shared fairly, and is anybody seen?",
        pick_modality=False,
    ),
    Entry(
        reader="Analyst",
        view="data_quality",
        title="Data quality",
        icon=":material/fact_check:",
        question="Did everything arrive, and can the figures be trusted?",
        pick_modality=False,
        roles=(TRUST, ANALYST, STEWARD, ADMIN),
    ),
    Entry(
        reader="Analyst",
        view="metric_dictionary",
        title="Metric dictionary",
        icon=":material/menu_book:",
        question="What does each number mean, and where is it stored?",
        pick_organisation=False,
        pick_modality=False,
    ),
    Entry(
        reader="Analyst",
        view="sql_workbench",
        title="SQL workbench",
        icon=":material/terminal:",
        question="What else can the published tables answer?",
        pick_organisation=False,
        pick_modality=False,
        is_typed=True,
        roles=(TRUST, ANALYST),
    ),
    Entry(
        reader="Steward",
        view="steward",
        title="Stewardship",
        icon=":material/shield_person:",
        question="Who may see what, who took what away and for what, and what is kept?",
        pick_organisation=False,
        pick_modality=False,
        pick_months=False,
        pick_record=True,
        roles=(STEWARD, ADMIN),
    ),
)
