"""Landing stage: Dagster wiring."""
