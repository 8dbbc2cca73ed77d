"""Delivery days: the partitions of every harvest asset."""

import dagster as dg

# Days before the first delivery cost nothing; the programme's history begins in April 2018.
delivery_days = dg.DailyPartitionsDefinition(
    start_date="2018-04-01", timezone="Europe/London", end_offset=1
)
