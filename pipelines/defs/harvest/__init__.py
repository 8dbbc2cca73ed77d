"""Harvest stage: Dagster wiring."""
