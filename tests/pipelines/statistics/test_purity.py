"""Same input, same output: a statistic that reads a clock or a file cannot be checked by anybody."""

import ast
from pathlib import Path

import pytest

import pipelines.statistics

BANNED = {
    "open",
    "print",
    "input",
    "today",
    "now",
    "utcnow",
    "getenv",
    "environ",
    "read_csv",
    "read_parquet",
    "scan_parquet",
    "write_csv",
    "write_parquet",
    "read_text",
    "write_text",
    "seed",
    "default_rng",
    "eval",
    "exec",
}
MODULES = sorted(Path(pipelines.statistics.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_statistics_read_no_clock_no_file_and_no_chance(module: Path):
    """Failing means that a published figure cannot be computed again."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call | ast.Attribute):
            called = node.func if isinstance(node, ast.Call) else node
            name = getattr(called, "attr", getattr(called, "id", ""))
            assert name not in BANNED, f"{module}:{node.lineno}: {name} is not allowed here"
        assert not isinstance(node, ast.Global), f"{module}:{node.lineno}: no global state"
