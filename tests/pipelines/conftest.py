"""One small synthetic network for the whole room, and a place to harvest it into."""

import base64
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import settings

from pipelines.contracts import Contract, read_contracts
from pipelines.harvest import Setup
from pipelines.landing.keys import Keys
from pipelines.landing.quarantine import Quarantine
from pipelines.landing.writer import LandingStore
from pipelines.network import Network
from pipelines.synthetic import generate

# A busy machine is no fault of the code: examples have no time limit.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "data_contracts"
# Shapes that a trust can give in place of others, and what others publish; the synthetic network
# delivers none of them.
OTHER_SHAPES = {"dids_v1", "dids_v2", "epic_audit", "fhir", "dm01_extract"}
KEYS = Keys(b"p" * 32, b"e" * 32, base64.urlsafe_b64encode(b"s" * 32))


@pytest.fixture(scope="session")
def network() -> Network:
    return Network.load(ROOT / "dbt_project" / "seeds")


@pytest.fixture(scope="session")
def inbound() -> dict[str, Contract]:
    return read_contracts(CONTRACTS / "inbound")


@pytest.fixture(scope="session")
def landing_contracts() -> dict[str, Contract]:
    return read_contracts(CONTRACTS / "landing")


@pytest.fixture(scope="session")
def delivered(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with inbox and truth of about 2,000 exams and 240 messages."""
    folder = tmp_path_factory.mktemp("delivered")
    generate(network, folder / "inbox", folder / "truth", scale=0.0001)
    return folder


@pytest.fixture(scope="session")
def new_setup(
    network: Network, inbound: dict[str, Contract], landing_contracts: dict[str, Contract]
) -> Callable[..., Setup]:
    """Make a harvest of its own below a folder, with invented keys."""

    def make(folder: Path, keys: Keys = KEYS, network: Network = network) -> Setup:
        return Setup(
            network=network,
            inbound=inbound,
            landing=LandingStore(folder / "landing", landing_contracts),
            quarantine=Quarantine(folder / "quarantine", keys),
            keys=keys,
            workers=1,
        )

    return make


@pytest.fixture(autouse=True)
def plain_frames() -> None:
    """Show whole frames where a comparison fails."""
    pl.Config.set_tbl_rows(60)
