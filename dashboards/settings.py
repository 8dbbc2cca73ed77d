"""Where the published folder is, and how often an open page looks for a newer build.

The only module of the dashboards that reads the environment (prefix IMAGING_).
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """IMAGING_HOME, _PUBLISHED, _AUDIENCE, _REFRESH_SECONDS, _SESSION_HOURS, _DOWNLOAD_PURPOSE."""

    model_config = SettingsConfigDict(env_prefix="IMAGING_", extra="ignore")

    home: Path = Field(default=Path("var"), description="All state of the warehouse.")
    published: Path | None = Field(
        default=None, description="Folder of the published files; default <home>/published."
    )
    audience: str = Field(
        default="demo", description="Whose file is read where no sign-in is configured."
    )
    refresh_seconds: float = Field(
        default=15.0, gt=0, description="How often an open page compares build ids."
    )
    session_hours: float = Field(
        default=8.0, gt=0, le=720, description="Hours after which a sign-in has to be made again."
    )

    download_purpose: Literal["signed_in", "everybody", "nobody"] = Field(
        default="signed_in",
        description="Who has to state a purpose before a download: those who signed in, everybody "
        "(the demo user too) or nobody.",
    )

    @property
    def audit_folder(self) -> Path:
        """The folder of the record of who saw what; the dashboards own it."""
        return self.home / "dashboards" / "audit"

    @property
    def views_folder(self) -> Path:
        """The folder of the views that readers keep for themselves; the dashboards own it."""
        return self.home / "dashboards" / "views"

    @property
    def queries_folder(self) -> Path:
        """The folder of the queries that readers saved; the dashboards own it."""
        return self.home / "dashboards" / "queries"

    @property
    def published_folder(self) -> Path:
        """The folder that holds manifest.json, gate.json and the published DuckDB files."""
        return self.published or self.home / "published"

    @staticmethod
    def with_published(folder: Path) -> dict[str, str]:
        """The environment of a child process that serves this published folder."""
        return os.environ | {"IMAGING_PUBLISHED": str(folder.resolve())}
