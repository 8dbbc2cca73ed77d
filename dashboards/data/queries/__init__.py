"""Stored questions: a published build and filters in, a polars frame out.

Every query selects, filters and orders stored rows; roll-ups and rates are made in the marts.
"""
