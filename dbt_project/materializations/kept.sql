{#- A table that is kept from build to build and brought up to date (docs/decisions/0017), in place
    of the incremental tables of the adapter.

    What a build needs to know of a table is its comment, so that it is gone when the table is:
    version  changes when its rows do
    code     hash of its SQL, of its columns and of what brought it up to date: engine, dbt, these macros
    seen     version of every relation that it was computed from
    Schema `changes` has, per table, the rows that came or went with its latest version. -#}
{% materialization incremental, adapter='duckdb' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set rebuilt = make_intermediate_relation(target_relation) -%}
    {%- set rule = config.get('meta', {}).get('kept', {}) -%}
    {%- set inputs = kept_inputs(model.depends_on.nodes, rule.get('inputs', {})) -%}
    {%- set known = kept_known(inputs) -%}
    {%- set mine = known.tables.get(this.schema ~ '.' ~ this.identifier, {}) -%}
    {%- set code = local_md5(
        [
            compiled_code, tojson(model.columns, sort_keys=true), tojson(rule, sort_keys=true),
            known.engine, dbt_version, kept_format(),
        ] | join('\n')
    ) -%}
    {%- set seen, changed, reasons = {}, [], [] -%}
    {%- for name, input in inputs.items() -%}
        {%- set version = kept_version(name, input, known) -%}
        {%- do seen.update({name: version}) -%}
        {%- set before = mine.get('seen', {}).get(name) -%}
        {%- if not version or version != before -%}
            {%- set since = kept_changes(input, before, version, known) -%}
            {%- if since and input.touches -%}
                {%- do changed.append(
                    input.touches | replace('{changes}', since) | replace('{this}', this | string)
                ) -%}
            {%- else -%}
                {%- do reasons.append(name) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do drop_relation_if_exists(load_cached_relation(rebuilt)) -%}
    {%- set is_known = (
        existing is not none and existing.is_table and mine.get('code') == code
        and (mine.seen | sort) == (seen | sort)
        and not should_full_refresh()
    ) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- if is_known and not reasons and not changed -%}
        {% call noop_statement('main', 'UNCHANGED') %}-- every input is as it was{% endcall %}
    {%- else -%}
        {%- set state = {'code': code, 'seen': seen} -%}
        {%- if is_known and rule.get('by') and not reasons -%}
            {%- set touched = kept_touch(changed) -%}
            {#- `in` of no keys at all is false of a row without a key, where of some keys it is null -#}
            {%- if touched.with_null and not touched.with_key -%}
                {%- do reasons.append('rows without a key') -%}
            {%- elif touched.with_key and kept_is_torn(target_relation, rule.by, inputs) -%}
                {%- do reasons.append('keys of several files') -%}
            {%- endif -%}
        {%- endif -%}
        {%- if is_known and rule.get('by') and not reasons and not touched.with_key -%}
            {% call noop_statement('main', 'TOUCHED') %}-- no row{% endcall %}
            {%- do kept_note_state(target_relation, mine.version, state) -%}
        {%- elif is_known and rule.get('by') and not reasons -%}
            {%- do kept_update(target_relation, rule.by, inputs, touched, mine, state) -%}
        {%- else -%}
            {%- do kept_rebuild(
                existing, target_relation, rebuilt, rule, inputs, mine if is_known else none, state,
                'for ' ~ (reasons or ['a change']) | join(', ') if is_known else 'as new'
            ) -%}
        {%- endif -%}
    {%- endif -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#- Another whenever these macros are: tables that others brought up to date are computed anew. -#}
{% macro kept_format() -%}
    {{ return('0468cdb5') }}
{%- endmacro %}

{#- Relations that a model is computed from, views resolved into what they read. An input that is
    local to the keys of the model has `touches`, a query of the keys that a change of it touches,
    and `only`, a condition that holds for all rows of given keys; none where all of it is read, and
    the word `changes` where what came is all there is of its keys.
    A rule gives both at once as SQL of the key over the columns of the input, or each apart; in
    braces stand `changes`, `keys`, `this` for the model and the names of its inputs. -#}
{% macro kept_inputs(nodes, rules) -%}
    {%- set found = {} -%}
    {%- for id in nodes -%}
        {%- if id in graph.sources -%}
            {%- set node = graph.sources[id] -%}
            {%- do found.update({node.source_name ~ '.' ~ node.name: {
                'kind': 'source',
                'name': node.name,
                'relation': read_landing(
                    node.config.meta.external_location | replace('{name}', node.name)
                ),
            }}) -%}
        {%- elif id in graph.nodes -%}
            {%- set node = graph.nodes[id] -%}
            {%- set kind = 'view' if node.config.materialized in ('view', 'kept_view') else 'table' -%}
            {%- do found.update({node.schema ~ '.' ~ node.alias: {
                'kind': kind, 'name': node.alias, 'relation': node.relation_name,
            }}) -%}
            {%- if kind == 'view' -%}
                {%- do found.update(kept_inputs(node.depends_on.nodes, {})) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for input in found.values() if input.name in rules -%}
        {%- set rule = rules[input.name] -%}
        {%- if rule is string -%}
            {%- set rule = {
                'touches': 'select ' ~ rule ~ ' from {changes}', 'only': rule ~ ' in {keys}'
            } -%}
        {%- endif -%}
        {%- set filled = namespace(touches=rule.get('touches', ''), only=rule.get('only')) -%}
        {%- for other in found.values() -%}
            {%- set name = '{' ~ other.name ~ '}' -%}
            {%- set filled.touches = filled.touches | replace(name, other.relation) -%}
            {%- if filled.only -%}
                {%- set filled.only = filled.only | replace(name, other.relation) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- do input.update({'touches': filled.touches, 'only': filled.only}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{#- What the database tells of this table and its inputs, in one question. -#}
{% macro kept_known(inputs) -%}
    {%- set names = [this.schema ~ '.' ~ this.identifier] -%}
    {%- for name, input in inputs.items() -%}
        {%- do names.extend([name, 'changes.' ~ input.name, 'changes.' ~ input.name ~ '__files']) -%}
    {%- endfor -%}
    {%- set listed = "('" ~ names | join("', '") ~ "')" -%}
    {%- set rows = run_query(
        "select 'engine' as kind, '' as name, version() as told "
        "union all select 'table', schema_name || '.' || table_name, comment from duckdb_tables() "
        "where database_name = current_database() and comment is not null "
        "and schema_name || '.' || table_name in " ~ listed ~
        " union all select 'view', schema_name || '.' || view_name, md5(sql) from duckdb_views() "
        "where database_name = current_database() "
        "and schema_name || '.' || view_name in " ~ listed
    ) -%}
    {%- set known = {'tables': {}, 'views': {}} -%}
    {%- for row in rows -%}
        {%- if row[0] == 'engine' -%}
            {%- do known.update({'engine': row[2]}) -%}
        {%- elif row[0] == 'view' -%}
            {%- do known.views.update({row[1]: row[2]}) -%}
        {%- else -%}
            {%- do known.tables.update({row[1]: fromjson(row[2], {})}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(known) }}
{%- endmacro %}

{#- Version of an input; none where the database does not know it: then nothing can be kept. -#}
{% macro kept_version(name, input, known) -%}
    {%- if input.kind == 'view' -%}
        {{ return(known.views.get(name)) }}
    {%- elif input.kind == 'source' -%}
        {{ return(known.tables.get('changes.' ~ input.name ~ '__files', {}).get('version')) }}
    {%- endif -%}
    {{ return(known.tables.get(name, {}).get('version')) }}
{%- endmacro %}

{#- Relation with the rows that came or went between two versions of an input; none where only
    other steps than this one are known. -#}
{% macro kept_changes(input, before, now, known) -%}
    {%- set change = known.tables.get('changes.' ~ input.name, {}) -%}
    {%- if before and now and change.get('from') == before and change.get('to') == now -%}
        {{ return('changes."' ~ input.name ~ '"') }}
    {%- endif -%}
    {{ return(none) }}
{%- endmacro %}

{#- Collect the touched keys; how many are null, which is a key as any other, and how many are not. -#}
{% macro kept_touch(selects) -%}
    {% call statement('kept_touched') -%}
        create or replace temp table kept_touched as
        select distinct kept_key from ({{ selects | join(' union all ') }}) as touched (kept_key)
    {%- endcall %}
    {%- set told = run_query(
        "select count(kept_key), count(*) - count(kept_key) from kept_touched"
    ).rows[0] -%}
    {{ return({'with_key': told[0] | int, 'with_null': told[1] | int}) }}
{%- endmacro %}

{#- Whether a key whose rows should all have come now has rows from before. -#}
{% macro kept_is_torn(relation, key, inputs) -%}
    {%- for input in inputs.values() if input.only == 'changes' -%}
        {%- set told = run_query(
            'select count(*) > 0 from ' ~ relation ~ ' where ' ~ key
            ~ ' in (select kept_key from kept_touched)'
        ).rows[0] -%}
        {{ return(told[0]) }}
    {%- endfor -%}
    {{ return(false) }}
{%- endmacro %}

{% macro kept_keys() -%}
    {{ return('(select kept_key from kept_touched where kept_key is not null)') }}
{%- endmacro %}

{#- The SQL of the model over those rows of its inputs that the touched keys need. -#}
{% macro kept_code(inputs, touched, is_few=true) -%}
    {#- in two steps: a condition may name relations that are cut down themselves -#}
    {%- set found = namespace(code=compiled_code) -%}
    {%- for name, input in inputs.items() if input.only -%}
        {%- set found.code = found.code | replace(input.relation, '{' ~ name ~ '}') -%}
    {%- endfor -%}
    {%- for name, input in inputs.items() if input.only -%}
        {%- set rows = 'changes."' ~ input.name ~ '"' if input.only == 'changes' else (
            kept_rows(input, kept_among(input.only | replace('{keys}', kept_keys()), touched), is_few)
        ) -%}
        {%- set found.code = found.code | replace('{' ~ name ~ '}', rows) -%}
    {%- endfor -%}
    {{ return(found.code) }}
{%- endmacro %}

{#- Compute the rows of the touched keys alone, and put them in place of those that were there. -#}
{% macro kept_update(relation, key, inputs, touched, mine, state) -%}
    {%- set code = kept_code(inputs, touched) -%}
    {%- set of_key = kept_among(key ~ ' in ' ~ kept_keys(), touched) -%}
    {#- In one statement: of a table that `create table ... as` made without rows, DuckDB 2.0.0 does not
        read back what the same transaction inserts beyond a row group. -#}
    {% call statement('kept_fresh') -%}
        create or replace temp table kept_fresh as
        (select * from {{ relation }} limit 0)
        union all by name
        select * from (
            {{ code }}
        ) where {{ of_key }}
    {%- endcall %}
    {% call noop_statement('main', 'TOUCHED') %}{{ code }}{% endcall %}
    {% call statement('kept_stale') -%}
        create or replace temp table kept_row_ids as
        select rowid as row_id from {{ relation }} where {{ of_key }};
        create or replace temp table kept_stale as
        select * from {{ relation }} where rowid in (select row_id from kept_row_ids)
    {%- endcall %}
    {%- set is_other = kept_note_changes(relation, 'kept_stale', 'kept_fresh', mine.version) -%}
    {%- if is_other -%}
        {% call statement('kept_delete') -%}
            delete from {{ relation }} where rowid in (select row_id from kept_row_ids)
        {%- endcall %}
        {% call statement('kept_insert') -%}
            insert into {{ relation }} select * from kept_fresh
        {%- endcall %}
    {%- endif -%}
    {%- do kept_note_state(relation, invocation_id if is_other else mine.version, state) -%}
{%- endmacro %}

{#- Rows of an input that a condition holds for. Where they are few of a table their ids are found
    first: the condition then reads its own columns alone of all rows, and the rest only of those. -#}
{% macro kept_rows(input, condition, is_few) -%}
    {%- set found = input.relation ~ ' where ' ~ condition -%}
    {%- if input.kind == 'table' and is_few -%}
        {%- set found = input.relation ~ ' where rowid in (select rowid from ' ~ found ~ ')' -%}
    {%- endif -%}
    {{ return('(select * from ' ~ found ~ ')') }}
{%- endmacro %}

{#- A condition on keys that are touched, and with null among these on rows that have none. -#}
{% macro kept_among(condition, touched) -%}
    {{ return('coalesce(' ~ condition ~ ', true)' if touched.with_null else condition) }}
{%- endmacro %}

{#- Keep what differs between two relations of the same columns; false where nothing does. -#}
{% macro kept_note_changes(relation, stale, fresh, version) -%}
    {% call statement('kept_other') -%}
        create or replace temp table kept_other as
        with differing as (
            select row_hash from (
                select hash(kept) as row_hash, 1 as copies from {{ stale }} as kept
                union all
                select hash(kept) as row_hash, -1 as copies from {{ fresh }} as kept
            )
            group by row_hash
            having sum(copies) <> 0
        )
        select * from {{ stale }} as kept where hash(kept) in (select row_hash from differing)
        union all
        select * from {{ fresh }} as kept where hash(kept) in (select row_hash from differing)
    {%- endcall %}
    {%- set is_other = run_query("select count(*) from kept_other").rows[0][0] > 0 -%}
    {%- if is_other -%}
        {%- set changes = 'changes."' ~ relation.identifier ~ '"' -%}
        {% call statement('kept_changes') -%}
            create or replace table {{ changes }} as select * from kept_other;
            comment on table {{ changes }} is
            '{{ tojson({"from": version, "to": invocation_id}) }}'
        {%- endcall %}
    {%- endif -%}
    {{ return(is_other) }}
{%- endmacro %}

{% macro kept_note_state(relation, version, state) -%}
    {%- do state.update({'version': version}) -%}
    {% call statement('kept_state') -%}
        comment on table {{ relation }} is '{{ tojson(state) | replace("'", "''") }}'
    {%- endcall %}
{%- endmacro %}

{#- Compute all rows. `mine` is the state of the table before, where its code was the same: then
    what did not change is left, or noted for those that go by its keys. -#}
{% macro kept_rebuild(existing, relation, rebuilt, rule, inputs, mine, state, why) -%}
    {%- set parts = kept_parts(rule, inputs) -%}
    {%- if parts > 1 -%}
        {%- do kept_create_in_parts(rebuilt, rule.by, inputs, parts) -%}
        {%- set why = why ~ ' in ' ~ parts ~ ' parts' -%}
    {%- else -%}
        {% call statement('kept_create') %}{{ create_table_as(False, rebuilt, compiled_code) }}{% endcall %}
    {%- endif -%}
    {% call noop_statement('main', 'REBUILT ' ~ why) %}{{ compiled_code }}{% endcall %}
    {%- set content = kept_content(rebuilt) -%}
    {%- do state.update({'content': content}) -%}
    {%- set is_other, version = [true], invocation_id -%}
    {%- if mine and mine.get('content') == content -%}
        {%- do is_other.append(false) -%}
    {%- elif mine and kept_is_followed() -%}
        {%- do is_other.append(kept_note_changes(relation, relation, rebuilt, mine.version)) -%}
    {%- endif -%}
    {%- if is_other[-1] -%}
        {%- if existing is not none -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- do adapter.rename_relation(rebuilt, relation) -%}
    {%- else -%}
        {%- do adapter.drop_relation(rebuilt) -%}
        {%- set version = mine.version -%}
    {%- endif -%}
    {%- do kept_note_state(relation, version, state) -%}
{%- endmacro %}

{#- In how many parts all rows are computed. The rows of a key come from those of its inputs that the
    rule names, so keys can be computed some at a time: then memory and spilling stay those of so many
    rows, however many there are. A model says that all its rows are of keys that its rule tells. -#}
{% macro kept_parts(rule, inputs) -%}
    {%- if not rule.get('in_parts') -%}
        {{ return(1) }}
    {%- endif -%}
    {%- set names = [] -%}
    {%- for name, input in inputs.items() if input.kind == 'table' and input.only -%}
        {%- do names.append(name) -%}
    {%- endfor -%}
    {%- set told = run_query(
        "select coalesce(max(estimated_size), 0) from duckdb_tables() "
        "where database_name = current_database() "
        "and schema_name || '.' || table_name in ('" ~ names | join("', '") ~ "')"
    ).rows[0][0] -%}
    {{ return((told / var('rows_at_once')) | round(0, 'ceil') | int) }}
{%- endmacro %}

{#- Compute the rows of all keys, one part of the keys after the other. -#}
{% macro kept_create_in_parts(rebuilt, key, inputs, parts) -%}
    {%- set selects = [] -%}
    {%- for input in inputs.values() if input.touches -%}
        {%- do selects.append(
            input.touches | replace('{changes}', input.relation) | replace('{this}', rebuilt | string)
        ) -%}
    {%- endfor -%}
    {% call statement('kept_parts') -%}
        create or replace temp table kept_parts as
        select distinct kept_key, hash(kept_key) % {{ parts }} as part
        from ({{ selects | join(' union all ') }}) as touched (kept_key)
    {%- endcall %}
    {%- for part in range(parts) -%}
        {%- set touched = kept_touch(['select kept_key from kept_parts where part = ' ~ part]) -%}
        {%- set rows -%}
            select * from ({{ kept_code(inputs, touched, is_few=false) }})
            where {{ kept_among(key ~ ' in ' ~ kept_keys(), touched) }}
        {%- endset -%}
        {% call statement('kept_create') -%}
            {%- if loop.first -%}
                {{ create_table_as(False, rebuilt, rows) }}
            {%- else -%}
                insert into {{ rebuilt }} by name {{ rows }}
            {%- endif -%}
        {%- endcall %}
    {%- endfor -%}
{%- endmacro %}

{#- Whether a model goes by the keys of this one, itself or through views. -#}
{% macro kept_is_followed() -%}
    {%- for node in graph.nodes.values()
        if node.resource_type == 'model'
        and model.alias in node.config.get('meta', {}).get('kept', {}).get('inputs', {}) -%}
        {{ return(true) }}
    {%- endfor -%}
    {{ return(false) }}
{%- endmacro %}

{#- Post-hook of a seed: its version is its content and its heading. -#}
{% macro kept_seed(relation) -%}
    {{ adapter.dispatch('kept_seed', 'imaging')(relation) }}
{%- endmacro %}

{% macro default__kept_seed(relation) -%}
{%- endmacro %}

{% macro duckdb__kept_seed(relation) -%}
    {%- if execute and flags.WHICH in ('build', 'seed') -%}
        {%- set columns = [] -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- do columns.append(column.name ~ ' ' ~ column.dtype) -%}
        {%- endfor -%}
        comment on table {{ relation }} is
        '{{ tojson({"version": kept_content(relation) ~ " " ~ local_md5(columns | join(", "))}) }}'
    {%- endif -%}
{%- endmacro %}

{% macro kept_content(relation) -%}
    {%- set told = run_query(
        "select count(*) || ' ' || coalesce(sum(cast(hash(kept) as hugeint)), 0) from "
        ~ relation ~ " as kept"
    ).rows[0] -%}
    {{ return(told[0]) }}
{%- endmacro %}

{#- Before a run: which landing files are new since the run before. Files are immutable, so new
    files are the change; where one went, or is another, no step is noted and all is read again. So
    it is where sources are read as of an instant: a file holds more than was known by then. -#}
{% macro kept_landing() -%}
    {%- if execute and flags.WHICH in ('build', 'run') -%}
        {{ adapter.dispatch('kept_landing', 'imaging')() }}
    {%- endif -%}
{%- endmacro %}

{% macro default__kept_landing() -%}
{%- endmacro %}

{% macro duckdb__kept_landing() -%}
    {%- set root = env_var('IMAGING_LANDING') -%}
    {%- do run_query('create schema if not exists changes') -%}
    {%- do run_query(
        "create or replace temp table kept_files as "
        "select split_part(substr(filename, length('" ~ root ~ "') + 2), '/', 1) as source_name, "
        "filename, size, last_modified from read_blob('" ~ root ~ "/*/**/*.parquet')"
    ) -%}
    {%- set names = [] -%}
    {%- for source in graph.sources.values() -%}
        {%- do names.append(source.name) -%}
    {%- endfor -%}
    {%- set lost = run_query(
        "select count(*) > 0 and count(*) filter (source_name in ('" ~ names | join("', '")
        ~ "')) = 0 from kept_files"
    ).rows[0][0] -%}
    {%- if lost -%}
        {{ exceptions.raise_compiler_error(
            "IMAGING_LANDING is " ~ root ~ ", and DuckDB names its files otherwise: give the folder "
            "as an absolute path without a slash at its end"
        ) }}
    {%- endif -%}
    {%- set before = {} -%}
    {%- for row in run_query(
        "select table_name, comment from duckdb_tables() where schema_name = 'changes' "
        "and database_name = current_database() and table_name like '%!_!_files' escape '!'"
    ) -%}
        {%- do before.update({row[0]: fromjson(row[1] or '{}', {})}) -%}
    {%- endfor -%}
    {%- for source in graph.sources.values() -%}
        {%- set name, files = source.name, 'changes."' ~ source.name ~ '__files"' -%}
        {%- set now = "(select filename, size, last_modified from kept_files where source_name = '"
            ~ name ~ "')" -%}
        {%- set version = before.get(name ~ '__files', {}).get('version') -%}
        {%- set new, gone = none, none -%}
        {%- if version -%}
            {%- set new = run_query(
                'select filename from (from ' ~ now ~ ' except from ' ~ files ~ ')'
            ).columns[0].values() -%}
            {%- set gone = run_query(
                'select count(*) from (from ' ~ files ~ ' except from ' ~ now ~ ')'
            ).rows[0][0] -%}
        {%- endif -%}
        {%- if not version or new or gone -%}
            {%- do run_query('begin') -%}
            {%- do run_query('create or replace table ' ~ files ~ ' as from ' ~ now) -%}
            {%- do run_query(
                'comment on table ' ~ files ~ " is '" ~ tojson({'version': invocation_id}) ~ "'"
            ) -%}
            {%- do run_query('drop table if exists changes."' ~ name ~ '"') -%}
            {%- if version and not gone and not env_var('IMAGING_AS_KNOWN_ON', '') -%}
                {%- do run_query(
                    'create table changes."' ~ name ~ "\" as from read_parquet(['"
                    ~ new | join("', '") ~ "'], union_by_name = true)"
                ) -%}
                {%- do run_query(
                    'comment on table changes."' ~ name ~ "\" is '"
                    ~ tojson({'from': version, 'to': invocation_id}) ~ "'"
                ) -%}
            {%- endif -%}
            {%- do run_query('commit') -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{#- A view that is made anew only when its SQL is another: making one reads the heads of all its
    files. -#}
{% materialization kept_view, adapter='duckdb' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set code = local_md5(compiled_code) -%}
    {%- set told = run_query(
        "select comment from duckdb_views() where database_name = current_database() "
        "and schema_name = '" ~ this.schema ~ "' and view_name = '" ~ this.identifier ~ "'"
    ).rows -%}
    {%- set view = this.incorporate(type='view') -%}
    {{ run_hooks(pre_hooks) }}
    {%- if existing is not none and existing.is_view and told | length == 1 and told[0][0] == code -%}
        {% call noop_statement('main', 'UNCHANGED') %}-- the same SQL{% endcall %}
    {%- else -%}
        {%- if existing is not none and not existing.is_view -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {% call statement('main') -%}
            create or replace view {{ view }} as ({{ compiled_code }});
            comment on view {{ view }} is '{{ code }}'
        {%- endcall %}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [view]}) }}
{% endmaterialization %}
