"""The environment is read in two files; a read elsewhere is a switch nobody documents."""

import ast

import pytest

from pipelines.settings import PROJECT_ROOT, Settings

MODULES = sorted(
    path
    for folder in ("pipelines", "dashboards")
    for path in (PROJECT_ROOT / folder).rglob("*.py")
    if path.name != "settings.py"
)
# Great Expectations takes this one switch from the environment only.
ALLOWED = {"pipelines/quality/suites.py": {"GX_ANALYTICS_ENABLED"}}


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PROJECT_ROOT)))
def test_only_settings_read_the_environment(module):
    """A default hidden in a module cannot be found by an operator."""
    name = str(module.relative_to(PROJECT_ROOT))
    for node in ast.walk(ast.parse(module.read_text())):
        found = getattr(node, "attr", getattr(node, "id", ""))
        if found in ("environ", "getenv"):
            assert name in ALLOWED, f"{name}:{node.lineno} reads the environment"


def test_the_key_file_is_outside_the_project_and_the_data():
    """A key beside the data would make the pseudonyms worthless to whoever copies the disk."""
    settings = Settings()
    assert not settings.key_file.is_relative_to(PROJECT_ROOT)
    assert not settings.key_file.is_relative_to(settings.home)


def test_every_setting_says_what_it_is_for():
    """The settings page is made of these texts."""
    assert all(field.description for field in Settings.model_fields.values())
