"""First write: pseudonymise, then immutable content-named Parquet; nothing here is edited."""
