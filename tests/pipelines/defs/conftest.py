"""Environment of the wiring: a home of its own, never the user's."""

import pytest

from pipelines.settings import Settings, export_environment


@pytest.fixture(scope="session")
def dbt_environment(tmp_path_factory):
    """The places dbt's profile reads, below a temporary home."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        # Known to the patch first, so that what export_environment sets is undone too.
        for name in ("IMAGING_HOME", "IMAGING_WAREHOUSE", "IMAGING_LANDING", "DAGSTER_HOME"):
            patch.setenv(name, str(home))
        export_environment(Settings())
        yield home
