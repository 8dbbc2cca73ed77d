"""Publish stage: Dagster wiring."""
