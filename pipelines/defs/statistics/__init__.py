"""Statistics stage: Dagster wiring."""
