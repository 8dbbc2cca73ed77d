"""What the command line says is what was meant."""

import pytest
from rich.console import Console

from pipelines import cli, query_verbs
from pipelines.journey import Outcome, exclusive
from pipelines.settings import Settings
from pipelines.warehouse import WarehouseProblem, ensure_manifest


@pytest.mark.parametrize("console", [cli.console, cli.errors, query_verbs.errors])
def test_the_name_of_a_section_is_printed(console: Console):
    """Failing means that an operator is told to write a section whose name is left out."""
    with console.capture() as printed:
        console.print("write one, for example [callers]", soft_wrap=True)
    assert printed.get() == "write one, for example [callers]\n"


def test_ending_the_command_ends_its_server(monkeypatch: pytest.MonkeyPatch):
    """Failing means that dashboards are served on after their service was stopped."""
    handlers = {}
    monkeypatch.setattr(
        cli.signal, "signal", lambda number, handler: handlers.update({number: handler})
    )
    waited, ended = [], []

    class Server(cli.subprocess.Popen):
        def wait(self, timeout: float | None = None) -> int:
            if not waited:
                waited.append(True)
                handlers[cli.signal.SIGTERM]()
            return super().wait(60)

        def terminate(self) -> None:
            # A runner of tests may hand down an ignored SIGTERM.
            ended.append(True)
            self.kill()

    monkeypatch.setattr(cli.subprocess, "Popen", Server)
    assert cli._until_it_ends(["sleep", "600"]) == -cli.signal.SIGKILL
    assert ended == [True]


def test_one_cause_is_told_once_and_what_the_gate_has_told_not_again():
    """Failing means thirty lines of one wrong map, or of refusals that stand above."""
    messages = ["x.toml: mend it", "harvest/hl7: contract_holds", "x.toml: mend it"]
    outcome = Outcome(False, "", ["hl7", "hl7_check", "rota"], messages)
    assert cli.causes(outcome, told=True) == [("hl7, rota", "x.toml: mend it")]
    assert len(cli.causes(outcome, told=False)) == 2


def test_a_place_without_a_dbt_project_is_named(tmp_path):
    """Failing means a traceback for a wrong IMAGING_DBT_PROJECT."""
    with pytest.raises(WarehouseProblem, match="IMAGING_DBT_PROJECT"):
        ensure_manifest(tmp_path)


def test_nobody_else_looks_into_a_home_that_we_create(tmp_path, monkeypatch):
    """Failing means that every user of the machine can read pseudonymised rows."""
    monkeypatch.setenv("IMAGING_HOME", str(tmp_path / "new"))
    with exclusive(Settings()):
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
