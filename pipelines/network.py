"""The network as data: parties, trusts, sites, scanners, feeds and national code lists."""

from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class Network:
    """Seed tables as polars frames; every column is text, empty cells are null."""

    network: pl.DataFrame
    programme_parties: pl.DataFrame
    trusts: pl.DataFrame
    sites: pl.DataFrame
    site_trust_history: pl.DataFrame
    reporting_organisations: pl.DataFrame
    feeds: pl.DataFrame
    audit_sources: pl.DataFrame
    application_entities: pl.DataFrame
    programme_events: pl.DataFrame
    scanner_register: pl.DataFrame
    postcode_deprivation: pl.DataFrame
    audiences: pl.DataFrame
    governance_positions: pl.DataFrame
    modalities: pl.DataFrame
    dm01_tests: pl.DataFrame
    exam_codes: pl.DataFrame
    patient_source_settings: pl.DataFrame
    priorities: pl.DataFrame
    event_types: pl.DataFrame
    metric_targets: pl.DataFrame

    @classmethod
    def load(cls, seeds_dir: Path) -> "Network":
        """Read the seeds below `seeds_dir` (subfolders network and national).

        Raises FileNotFoundError that names the missing seed.
        """
        frames = {}
        for field in fields(cls):
            matches = sorted(seeds_dir.glob(f"*/{field.name}.csv"))
            if not matches:
                raise FileNotFoundError(
                    f"seed {field.name}.csv is missing below {seeds_dir}; a network needs every "
                    "seed of dbt_project/seeds, see docs/guides/new_network.md"
                )
            frames[field.name] = pl.read_csv(matches[0], infer_schema=False)
        return cls(**frames)

    @property
    def name(self) -> str:
        """Name of the network, as pages show it."""
        return str(self.network["network_name"][0])

    @property
    def region_code(self) -> str | None:
        """Code of the national region the network belongs to, as national returns ask for it."""
        return self.network["region_code"][0]

    @property
    def time_zone(self) -> str:
        """Wall clock of the network's feeds; one for all, so that their days agree.

        Raises ValueError when the feed registry names several.
        """
        zones = self.feeds["default_time_zone"].drop_nulls().unique().to_list()
        if len(zones) != 1:
            raise ValueError(f"seeds/network/feeds.csv names several time zones: {sorted(zones)}")
        return str(zones[0])

    def event_ranks(self) -> dict[str, int]:
        """Life-cycle rank of each canonical event type."""
        rows = self.event_types.select("event_type", "event_rank").iter_rows()
        return {event_type: int(rank) for event_type, rank in rows}
