"""What the tests of images after the exam share: both are only read."""

from datetime import date

import pytest

from pipelines.network import Network
from pipelines.synthetic import generate
from pipelines.synthetic.period import Period
from tests.invented_images import WINDOWS, Shared, Written, invented_exams, shared


@pytest.fixture(scope="module")
def written(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("images")
    period = Period.of(date(2021, 2, 1), 8)
    generate(network, folder / "inbox", folder / "truth", seed=7, scale=0.0005, period=period)
    parties = network.programme_parties["party_code"].to_list()
    return Written(folder / "inbox", folder / "truth", parties)


@pytest.fixture(scope="module")
def invented(network: Network) -> Shared:
    exams = invented_exams(network, 100_000, list(WINDOWS.values()))
    return Shared(exams, {world: shared(network, exams, world) for world in ("effect", "null")})
