"""Gate stage: Dagster wiring."""
