"""Dagster wiring only: assets, checks, schedules; what they do is in the rooms."""
