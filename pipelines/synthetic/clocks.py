"""Seconds as date and time: the same rules as `calendar`, on columns of a frame."""

from __future__ import annotations

import polars as pl

ZONE = "Europe/London"


def instant(seconds: pl.Expr) -> pl.Expr:
    """UTC instants of UTC seconds; null stays null."""
    return (seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))


def wall(seconds: pl.Expr) -> pl.Expr:
    """Wall clock of local seconds, that is, a date and time without zone."""
    return (seconds * 1_000_000).cast(pl.Datetime("us"))


def london(seconds: pl.Expr) -> pl.Expr:
    """London wall clock of UTC seconds."""
    return instant(seconds).dt.convert_time_zone(ZONE).dt.replace_time_zone(None)
