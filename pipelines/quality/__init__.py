"""Expectations at the door: contracts become Great Expectations suites, run on every batch."""
