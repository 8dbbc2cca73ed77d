"""The metric registry and the tables of the published file, as text to read."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dashboards.data.published import Build, read


def metrics(build: Build, search: str = "") -> pl.DataFrame:
    """One row per metric whose id, name or definition holds the searched text."""
    return read(
        build,
        """
        select
            metric_id,
            name,
            definition,
            numerator,
            denominator,
            unit,
            improvement,
            clock,
            exclusions,
            owner,
            source,
            source_status,
            semi_additive,
        from catalogue.metrics
        where
            contains(lower(metric_id), lower($search))
            or contains(lower(name), lower($search))
            or contains(lower(definition), lower($search))
        order by metric_id
        """,
        search=search.strip(),
    )


def metrics_of(build: Build, family: str) -> pl.DataFrame:
    """One row per metric of a family (first letter of its id): id, name, unit, and if a stock."""
    return read(
        build,
        """
        select
            metric_id,
            name,
            unit,
            semi_additive,
        from catalogue.metrics
        where starts_with(metric_id, $family)
        order by metric_id
        """,
        family=family,
    )


def all_targets(build: Build) -> pl.DataFrame:
    """One row per stored target."""
    return read(
        build,
        """
        select
            metric_id,
            scope,
            comparator,
            target_value,
            unit,
            valid_from,
            valid_to,
            source,
            source_status,
        from marts.dim_target
        order by metric_id, scope, valid_from nulls first
        """,
    )


def tables(build: Build, search: str = "") -> pl.DataFrame:
    """One row per published table whose name, description, columns or their texts hold the search."""
    return read(
        build,
        """
        select
            table_schema,
            table_name,
            description,
            grain,
            row_count,
        from catalogue.tables
        where
            contains(lower(table_name), lower($search))
            or contains(lower(description), lower($search))
            or table_name in (
                select table_name
                from catalogue.columns
                where
                    contains(lower(column_name), lower($search))
                    or contains(lower(description), lower($search))
            )
        order by table_schema, table_name
        """,
        search=search.strip(),
    )


def tables_in(build: Build, schemas: Sequence[str], search: str = "") -> pl.DataFrame:
    """One row per published table of some schemas that holds the searched text."""
    return tables(build, search).filter(pl.col("table_schema").is_in(list(schemas)))


def columns_with(build: Build, schemas: Sequence[str], search: str) -> pl.DataFrame:
    """One row per column, of the tables of some schemas, whose name or description holds the text.

    No row where no text is searched.
    """
    found = read(
        build,
        """
        select
            table_schema,
            table_name,
            column_name,
            description,
        from catalogue.columns
        where
            $search <> ''
            and (
                contains(lower(column_name), lower($search))
                or contains(lower(description), lower($search))
            )
        order by table_schema, table_name, position
        """,
        search=search.strip(),
    )
    return found.filter(pl.col("table_schema").is_in(list(schemas)))


def table_text(build: Build, qualified_name: str) -> str:
    """The description of a table given as schema.table, or no text."""
    frame = read(
        build,
        """
        select description
        from catalogue.tables
        where table_schema || '.' || table_name = $qualified_name
        """,
        qualified_name=qualified_name,
    )
    return frame["description"][0] or "" if frame.height else ""


def column_text(build: Build, qualified_name: str, column_name: str) -> str:
    """The description of a column of a table given as schema.table, or no text."""
    frame = read(
        build,
        """
        select description
        from catalogue.columns
        where
            table_schema || '.' || table_name = $qualified_name
            and column_name = $column_name
        """,
        qualified_name=qualified_name,
        column_name=column_name,
    )
    return frame["description"][0] or "" if frame.height else ""


def columns(build: Build, table_name: str) -> pl.DataFrame:
    """One row per column of a published table, in its order."""
    return read(
        build,
        """
        select
            column_name,
            data_type,
            description,
        from catalogue.columns
        where table_name = $table_name
        order by position
        """,
        table_name=table_name,
    )
