{# The types that contracts and seeds name, as Spark names them. #}
{% macro spark_type(data_type) -%}
    {{ return({
        'varchar': 'string',
        'timestamp': 'timestamp_ntz',
        'timestamp with time zone': 'timestamp'
    }.get(data_type, data_type)) }}
{%- endmacro %}

{# dbt asks an enforced contract for its columns and types by this empty query. #}
{% macro spark__get_empty_schema_sql(columns) -%}
    {%- set values = [] -%}
    {%- for column in columns.values() -%}
        {%- do values.append(
            'cast(null as ' ~ spark_type(column['data_type']) ~ ') as ' ~ column['name']
        ) -%}
    {%- endfor -%}
    select {{ values | join(', ') }}
{%- endmacro %}

{# One statement with all rows. dbt-spark's own leaves quotes in a text as they are. #}
{% macro spark__create_csv_table(model, agate_table) -%}
    {%- set types = model['config'].get('column_types', {}) -%}
    {%- set columns = [] -%}
    {%- for name in agate_table.column_names -%}
        {%- set type = types.get(name, adapter.convert_type(agate_table, loop.index0)) -%}
        {%- do columns.append('cast(' ~ name ~ ' as ' ~ spark_type(type) ~ ') as ' ~ name) -%}
    {%- endfor -%}
    {%- set rows = [] -%}
    {%- for row in agate_table.rows -%}
        {%- set values = [] -%}
        {%- for value in row -%}
            {%- do values.append(
                'null' if value is none else "'" ~ (value | string | replace('\\', '\\\\') | replace("'", "''")) ~ "'"
            ) -%}
        {%- endfor -%}
        {%- do rows.append('(' ~ values | join(', ') ~ ')') -%}
    {%- endfor -%}
    {%- set sql -%}
        create table {{ this.render() }}
        {{ file_format_clause() }}
        as
        select {{ columns | join(', ') }}
        from values
            {{ rows | join(',\n            ') if rows
            else '(' ~ (['null'] * agate_table.column_names | length) | join(', ') ~ ')' }}
            as seed ({{ agate_table.column_names | join(', ') }})
        {{ 'where false' if not rows }}
    {%- endset -%}
    {%- call statement('_') -%}
        {{ sql }}
    {%- endcall -%}
    {{ return(sql) }}
{%- endmacro %}

{% macro spark__load_csv_rows(model, agate_table) -%}
    {{ return('') }}
{%- endmacro %}
