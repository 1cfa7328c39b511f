"""SQLite's functions that PostgreSQL lacks, as functions of the library's schema, {s}.

They replace those of an older picto. JSON is text as picto wrote it, in ASCII. `\\u0000`, and half a surrogate pair,
are in no text of PostgreSQL's: what is looked at in their place is U+FFFD.
"""

from __future__ import annotations

from pictocli.scale.postgres.values import BEHIND, BYTES, NUMBER, ODD

__all__ = ["FUNCTIONS"]

_NUMERIC = r"^[ \t\n\v\f\r]*[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?[ \t\n\v\f\r]*$"
_MEANT = r"(?<!\\)((?:\\\\)*)"  # an escape, and no backslash that is escaped before a "u"
_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"

FUNCTIONS = rf"""
CREATE OR REPLACE FUNCTION next_id(kind text) RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT
AS $$
DECLARE found bigint;
BEGIN
  CASE kind
    WHEN 'image' THEN SELECT max(id) INTO found FROM image;
    WHEN 'content' THEN SELECT max(id) INTO found FROM content;
    WHEN 'file' THEN SELECT max(id) INTO found FROM file;
    WHEN 'folder' THEN SELECT max(id) INTO found FROM folder;
    WHEN 'tag' THEN SELECT max(id) INTO found FROM tag;
    WHEN 'root' THEN SELECT max(id) INTO found FROM root;
    WHEN 'dataset' THEN SELECT max(id) INTO found FROM dataset;
  END CASE;
  RETURN coalesce(found, 0) + 1;
END $$;

-- What a value is, by the type of its column, and by how a text begins.
CREATE OR REPLACE FUNCTION typeof(bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN $1 IS NULL THEN 'null' ELSE 'integer' END $$;
CREATE OR REPLACE FUNCTION typeof(double precision) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN $1 IS NULL THEN 'null' ELSE 'real' END $$;
CREATE OR REPLACE FUNCTION typeof(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN $1 IS NULL THEN 'null' ELSE 'blob' END $$;
CREATE OR REPLACE FUNCTION typeof({{v}}.vector) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN $1 IS NULL THEN 'null' ELSE 'blob' END $$;
CREATE OR REPLACE FUNCTION typeof(text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN $1 IS NULL THEN 'null' WHEN left($1, 1) = '{BYTES}' THEN 'blob'
     WHEN left($1, 1) = '{NUMBER}' THEN 'integer' ELSE 'text' END $$;
-- A text of JSON's as it is stored in a column, and a stored name as it is meant: see `values.stored_text`.
CREATE OR REPLACE FUNCTION stored(text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN $1 COLLATE "C" >= '{BEHIND}{BEHIND}' THEN '{BEHIND}' ELSE '' END
     || replace($1, '{ODD}', '{ODD}1') $$;
CREATE OR REPLACE FUNCTION meant(text) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN left($1, 1) = '{BEHIND}' AND $1 COLLATE "C" >= '{BEHIND}{BEHIND}' THEN substr($1, 2)
     ELSE $1 END $$;
CREATE OR REPLACE FUNCTION to_blob(text) RETURNS bytea LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN left($1, 1) = '{BYTES}' THEN convert_to(substr($1, 2), 'LATIN1')
     ELSE convert_to({{s}}.meant($1), 'UTF8') END $$;
CREATE OR REPLACE FUNCTION to_blob(bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
CREATE OR REPLACE FUNCTION to_text(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
CREATE OR REPLACE FUNCTION length({{v}}.vector) RETURNS int LANGUAGE sql IMMUTABLE AS
  $$ SELECT 4 * {{v}}.vector_dims($1) $$;
CREATE OR REPLACE FUNCTION instr(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS
  $$ SELECT strpos({{s}}.meant($1), {{s}}.meant($2)) $$;
CREATE OR REPLACE FUNCTION instr(bytea, bytea) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT position($2 IN $1) $$;
CREATE OR REPLACE FUNCTION local_seconds(bigint) RETURNS bigint LANGUAGE sql STABLE AS
  $$ SELECT extract(epoch FROM to_timestamp($1) AT TIME ZONE current_setting('TimeZone'))::bigint $$;
CREATE OR REPLACE FUNCTION full_path(root text, folder text, name text, page bigint) RETURNS text LANGUAGE sql IMMUTABLE
AS $$
  SELECT CASE WHEN 'blob' IN ({{s}}.typeof(root), {{s}}.typeof(folder), {{s}}.typeof(name)) THEN
      '{BYTES}' || convert_from({{s}}.to_blob(root) || '/'::bytea || CASE WHEN folder = '' THEN ''::bytea
        ELSE {{s}}.to_blob(folder) || '/'::bytea END || {{s}}.to_blob(name), 'LATIN1')
    ELSE rtrim(root, '/') || '/' || CASE WHEN folder = '' THEN '' ELSE {{s}}.meant(folder) || '/' END
      || {{s}}.meant(name) END
    || CASE WHEN page > 0 THEN '#page=' || page ELSE '' END $$;

CREATE OR REPLACE FUNCTION add_true(bigint, boolean) RETURNS bigint LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN $2 IS NULL THEN $1 ELSE coalesce($1, 0) + $2::int END $$;
CREATE OR REPLACE AGGREGATE sum(boolean) (SFUNC = add_true, STYPE = bigint);

-- Tags: a label and a score each, in the order in which they are written.
CREATE OR REPLACE FUNCTION json_scores(text) RETURNS TABLE(key text, value double precision) LANGUAGE sql IMMUTABLE AS
  $$ SELECT {{s}}.stored(j.key), j.value::double precision FROM pg_catalog.json_each_text($1::json) j $$;
CREATE OR REPLACE FUNCTION labels_of(objects text, scenes text, attributes text)
  RETURNS TABLE(at bigint, category bigint, name text, score double precision) LANGUAGE sql IMMUTABLE AS $$
  SELECT 100000 * c.category + j.ordinality, c.category, {{s}}.stored(j.key), j.value::double precision
  FROM (VALUES (0::bigint, objects), (1, scenes), (2, attributes)) c(category, written),
    pg_catalog.json_each_text(c.written::json) WITH ORDINALITY j $$;
CREATE OR REPLACE FUNCTION labels(objects text, scenes text, attributes text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object(
    'objects', (SELECT coalesce(jsonb_agg(k), '[]') FROM pg_catalog.json_object_keys(objects::json) k),
    'scenes', (SELECT coalesce(jsonb_agg(k), '[]') FROM pg_catalog.json_object_keys(scenes::json) k),
    'attributes', (SELECT coalesce(jsonb_agg(k), '[]') FROM pg_catalog.json_object_keys(attributes::json) k)) $$;

-- Metadata. A path is a list of names.
CREATE OR REPLACE FUNCTION json_valid(text, int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN ($1::json) IS NOT NULL;
EXCEPTION WHEN OTHERS THEN
  RETURN false;
END $$;
CREATE OR REPLACE FUNCTION json_clean(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN strpos($1, '\u0000') = 0 AND strpos(lower($1), '\ud') = 0 THEN $1 ELSE
    regexp_replace(regexp_replace(regexp_replace($1,
      '{_MEANT}\\u0000', '\1\\ufffd', 'g'),
      '{_MEANT}{_HIGH}(?!{_LOW})', '\1\\ufffd', 'g'),
      '(?<!{_HIGH}){_MEANT}{_LOW}', '\1\\ufffd', 'g') END $$;
-- Not by #>, to which 0 is a place in a list, too.
CREATE OR REPLACE FUNCTION json_within(part jsonb, path text[]) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE key text;
BEGIN
  FOREACH key IN ARRAY path LOOP
    part := part -> key;
  END LOOP;
  RETURN part;
END $$;
CREATE OR REPLACE FUNCTION json_at(text, text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
  $$ SELECT CASE WHEN cardinality($2) = 1 THEN {{s}}.json_clean($1)::jsonb -> $2[1]
     ELSE {{s}}.json_within({{s}}.json_clean($1)::jsonb, $2) END $$;
CREATE OR REPLACE FUNCTION json_compact(json) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN CASE json_typeof($1)
    WHEN 'object' THEN '{{' || coalesce((SELECT string_agg(to_json(j.key) || ':' || {{s}}.json_compact(j.value), ','
      ORDER BY j.ordinality) FROM pg_catalog.json_each($1) WITH ORDINALITY j), '') || '}}'
    WHEN 'array' THEN '[' || coalesce((SELECT string_agg({{s}}.json_compact(j.value), ',' ORDER BY j.ordinality)
      FROM pg_catalog.json_array_elements($1) WITH ORDINALITY j), '') || ']'
    ELSE $1::text END;
END $$;
CREATE OR REPLACE FUNCTION number_text(jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN $1::text ~ '^-?[0-9]+$' THEN $1::text ELSE
    regexp_replace(($1::numeric::double precision)::text, '^(-?[0-9]+)$', '\1.0') END $$;
CREATE OR REPLACE FUNCTION json_text(written text, path text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE found jsonb := {{s}}.json_at(written, path);
BEGIN
  RETURN CASE jsonb_typeof(found) WHEN 'string' THEN {{s}}.stored(found #>> '{{}}') WHEN 'null' THEN NULL
    WHEN 'boolean' THEN CASE WHEN found::boolean THEN '1' ELSE '0' END WHEN 'number' THEN {{s}}.number_text(found)
    ELSE CASE WHEN found IS NOT NULL THEN {{s}}.json_compact({{s}}.json_clean(written)::json #> path) END END;
END $$;
CREATE OR REPLACE FUNCTION json_kind(text, text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE found jsonb := {{s}}.json_at($1, $2);
BEGIN
  RETURN CASE jsonb_typeof(found) WHEN 'string' THEN 'text' WHEN 'boolean' THEN found::text
    WHEN 'number' THEN CASE WHEN found::text ~ '^-?[0-9]+$' THEN 'integer' ELSE 'real' END ELSE jsonb_typeof(found) END;
END $$;
CREATE OR REPLACE FUNCTION json_atoms(text, text[]) RETURNS TABLE(atom text) LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE jsonb_typeof(a) WHEN 'string' THEN {{s}}.stored(a #>> '{{}}')
    WHEN 'boolean' THEN CASE WHEN a::boolean THEN '1' ELSE '0' END WHEN 'number' THEN {{s}}.number_text(a) END
  FROM jsonb_path_query({{s}}.json_at($1, $2), 'strict $.**') a WHERE jsonb_typeof(a) NOT IN ('object', 'array') $$;

-- A value as bytes in the order of SQLite's values; `values.field_key` makes the same of what is bound.
CREATE OR REPLACE FUNCTION number_key(numeric) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  near double precision := CASE WHEN abs($1) > 1.7976931348623157e308 THEN sign($1) * 'Infinity'::double precision
    WHEN abs($1) < 1e-307 THEN 0 ELSE $1::double precision END + 0.0;
  bits bigint := ('x' || encode(float8send(near), 'hex'))::bit(64)::bigint;
  more int := CASE WHEN scale($1) > 0 OR abs($1) <= 9007199254740992 OR abs($1) >= 9223372036854775808 THEN 0
    WHEN abs(near) < 9223372036854775808 THEN $1 - near::bigint
    ELSE $1 - sign($1) * 9223372036854775808 END;
BEGIN
  RETURN '\x01'::bytea || int8send(CASE WHEN bits < 0 THEN ~bits ELSE bits | (1::bigint << 63) END)
    || substr(int4send(more + 32768), 3);
END $$;
CREATE OR REPLACE FUNCTION text_key(text) RETURNS bytea LANGUAGE sql IMMUTABLE AS
  $$ SELECT '\x02'::bytea || convert_to($1, 'UTF8') $$;
CREATE OR REPLACE FUNCTION field_value(written text, path text[]) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  found jsonb := {{s}}.json_at(written, path);
  said text := found #>> '{{}}';
BEGIN
  RETURN CASE jsonb_typeof(found) WHEN 'number' THEN {{s}}.number_key(said::numeric)
    WHEN 'boolean' THEN {{s}}.text_key(said) WHEN 'null' THEN NULL
    WHEN 'string' THEN CASE WHEN said ~ '{_NUMERIC}' THEN {{s}}.number_key(btrim(said, E' \t\n\v\f\r')::numeric)
      ELSE {{s}}.text_key(nullif(said, '')) END
    ELSE {{s}}.text_key({{s}}.json_text(written, path)) END;
END $$;
"""
"""Makes all functions. {v}: the schema of pgvector."""
