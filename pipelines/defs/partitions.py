"""Delivery days: the partitions of every harvest asset."""

import dagster as dg

# Days without a delivery cost nothing; no feed is older than this.
delivery_days = dg.DailyPartitionsDefinition(
    start_date="2010-01-01", timezone="Europe/London", end_offset=1
)
