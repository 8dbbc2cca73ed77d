"""SQL that a reader types: a gate that explains, and a process that bounds (docs/sql_safety.md)."""
