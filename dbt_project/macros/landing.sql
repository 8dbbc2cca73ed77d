{# A landing table where it lies: dbt's own `source`, with its folder told when SQL is run. What is
   told earlier is part of what dbt parses, and each folder would be parsed for anew. #}
{% macro source(source_name, table_name) -%}
    {%- set relation = builtins.source(source_name, table_name) -%}
    {%- if execute and 'IMAGING_LANDING' in relation | string -%}
        {{ return(read_landing(relation | string)) }}
    {%- endif -%}
    {{ return(relation) }}
{%- endmacro %}

{# What the files of a source hold, all of it or what had landed by an instant. #}
{% macro read_landing(location) -%}
    {{ return(adapter.dispatch('read_landing', 'imaging')(location)) }}
{%- endmacro %}

{% macro default__read_landing(location) -%}
    {%- set files = location | replace('IMAGING_LANDING', env_var('IMAGING_LANDING')) -%}
    {%- set known_on = env_var('IMAGING_AS_KNOWN_ON', '') -%}
    {%- if known_on -%}
        {%- set files = files ~ " where landed_at <= timestamptz '" ~ known_on ~ "'" -%}
        {{ return('(select * from ' ~ files ~ ')') }}
    {%- endif -%}
    {{ return(files) }}
{%- endmacro %}

{# DuckDB reads the files where a source is named (external_location); Spark wants a table. #}
{% macro register_landing() -%}
    {{ return(adapter.dispatch('register_landing', 'imaging')()) }}
{%- endmacro %}

{% macro default__register_landing() -%}
{%- endmacro %}

{% macro spark__register_landing() -%}
    {%- set known_on = env_var('IMAGING_AS_KNOWN_ON', '') -%}
    {%- if execute -%}
        {%- do run_query('create schema if not exists landing') -%}
        {%- do run_query('create schema if not exists landing_files') -%}
        {%- for source in graph.sources.values() -%}
            {%- set files = 'landing_files.' ~ source.name -%}
            {%- do run_query('drop table if exists ' ~ files) -%}
            {%- do run_query(
                'create table ' ~ files ~ " using parquet options (mergeSchema 'true', "
                ~ "recursiveFileLookup 'true', path '" ~ env_var('IMAGING_LANDING') ~ '/'
                ~ source.name ~ "')"
            ) -%}
            {%- do run_query(
                'create or replace view landing.' ~ source.name ~ ' as select * from ' ~ files
                ~ (" where landed_at <= timestamp '" ~ known_on ~ "'" if known_on else '')
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
