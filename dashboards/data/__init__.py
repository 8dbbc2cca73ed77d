"""The only room that opens DuckDB, and only on a published file, read only."""
