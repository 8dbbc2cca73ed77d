"""Move data from source files to published marts; no metric is defined in this package."""
