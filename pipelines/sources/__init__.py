"""One module per kind of outside system; each returns polars frames and writes nothing."""
