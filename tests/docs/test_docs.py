"""Documentation that cannot drift: a failure here means that a page says something untrue."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.settings import PROJECT_ROOT

PAGES = sorted(
    path
    for path in PROJECT_ROOT.rglob("*.md")
    if not {".venv", "var", "target", "node_modules"} & set(path.relative_to(PROJECT_ROOT).parts)
)
THEMES = ("light", "dark")
VERBS = [
    "synthesise",
    "query",
    "alerts",
    "audit",
    "quarantine",
    "receive",
    "recompute",
    "harvest",
    "build",
    "gate",
    "publish",
    "run",
    "status",
    "dashboards",
    "screenshots",
    "dagster",
    "bench",
    "demo",
    "docs",
    "keys",
]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [PROJECT_ROOT / name for name in listed.stdout.splitlines()]


def test_every_view_is_pictured_in_both_widths_and_themes():
    """A page that nobody has looked at on a phone or in the dark: `imaging screenshots` shows it."""
    folder = PROJECT_ROOT / "docs" / "screenshots"
    page = (folder / "README.md").read_text()
    assert "synthetic" in page
    views = {p.stem for p in (PROJECT_ROOT / "dashboards" / "views").glob("*.py")} - {"__init__"}
    named = {f"{v}_{w}_{t}.webp" for v in views for w in ("wide", "phone") for t in THEMES}
    assert set(re.findall(r"\((\w+\.webp)\)", page)) == named
    pictures = {path.name: path.stat().st_size for path in folder.glob("*.webp")}
    assert set(pictures) == named
    assert sum(pictures.values()) < 4_000_000


def test_generated_pages_and_published_contracts_are_fresh(tmp_path, monkeypatch):
    """The reference pages must say what the code says; `imaging docs` writes them."""
    monkeypatch.setenv("IMAGING_HOME", str(tmp_path))
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "docs", "--check"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_every_verb_is_documented_with_help():
    """A verb without help text is a verb nobody can use."""
    page = (PROJECT_ROOT / "docs" / "reference" / "cli.md").read_text()
    for verb in VERBS:
        assert re.search(rf"^## imaging {verb}\b", page, re.M), verb
    sections = page.split("\n## ")[1:]
    assert all(len(section.strip().splitlines()) > 1 for section in sections)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(PROJECT_ROOT)))
def test_relative_links_lead_somewhere(page):
    """A dead link sends a newcomer away."""
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_reading_order_of_the_readme_exists():
    """The six files promised to a newcomer are there."""
    readme = (PROJECT_ROOT / "README.md").read_text()
    promised = re.findall(r"^\d\.\s+\[?`([^`]+)`", readme, re.M)
    assert len(promised) >= 6
    for name in promised:
        assert (PROJECT_ROOT / name).exists(), name


def test_locks_record_no_address_of_an_index():
    """A lock with an address ties every user to one index."""
    for path in (PROJECT_ROOT / "requirements").glob("*.txt"):
        found = re.search(r"https?://|--(extra-)?index-url|--find-links|file:", path.read_text())
        assert found is None, f"{path.name}: {found}"
    assert (
        not (PROJECT_ROOT / "uv.lock").exists()
        or "uv.lock" in (PROJECT_ROOT / ".gitignore").read_text().split()
    )
    for path in tracked_files():
        if path.name == "package-lock.json":
            assert '"resolved"' not in path.read_text()


def test_every_requirement_is_pinned_with_a_hash():
    """An unpinned line would install something nobody tested."""
    for path in (PROJECT_ROOT / "requirements").glob("*.txt"):
        if path.name == "pip-constraints.txt":
            continue
        entries = re.findall(r"^(\S+?)(\s|==)", path.read_text(), re.M)
        for name, separator in entries:
            if not name.startswith("--hash"):
                assert separator == "==", f"{path.name}: {name}"


def test_no_file_is_named_after_a_status_or_a_drawer():
    """Such files collect what has no place; name the subject instead."""
    banned = re.compile(r"(^|/)(utils|helpers|common)\.py$|_NOTES\.md$|TODO\.md$|COMPLETE\.md$")
    assert [str(p) for p in tracked_files() if banned.search(str(p))] == []


def test_no_path_of_a_machine_is_in_the_project():
    """A path of one machine is of no use on another."""
    root = str(PROJECT_ROOT.parent) + "/"
    if len(root) < 4:
        return
    for path in tracked_files():
        if path.is_file() and path.stat().st_size < 2_000_000:
            assert root.encode() not in path.read_bytes(), path


def test_hooks_call_the_tools_of_the_environment():
    """A hook that fetched its own version would lint by other rules than CI."""
    text = (PROJECT_ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo:\s*(\S+)", text) == ["local"]
    assert set(re.findall(r"language:\s*(\S+)", text)) == {"system"}


def test_the_manifest_schema_is_a_json_schema():
    """Readers of the manifest rely on its schema."""
    schema = PROJECT_ROOT / "data_contracts" / "published" / "manifest.schema.json"
    assert json.loads(schema.read_text())["type"] == "object"
