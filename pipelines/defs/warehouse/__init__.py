"""Warehouse stage: Dagster wiring."""
