"""The tables of a library in PostgreSQL: those of `migrations.py`, in its types, with triggers that do the same.

{s} stands for the schema that the library lies in, which is the first in which names are looked up.
"""

from __future__ import annotations

from pictocli.migrations import MIGRATIONS

__all__ = ["COLUMNS", "IDS", "KEYS", "RENAMED", "TABLES", "TRIGGERS"]

RENAMED = {"vector": "named_vector"}  # a table is a type, too, and pgvector's is called so
"""Tables that have another name here."""

COLUMNS = {
    "meta": ("key", "value"),
    "named_vector": ("name", "v"),
    "text_embedding": ("text", "v"),
    "dataset": ("id", "name"),
    "root": ("id", "dataset_id", "path"),
    "folder": ("id", "root_id", "path", "images"),
    "file": ("id", "folder_id", "name", "kind", "size", "mtime_ns", "hash", "pages", "dpi", "reason"),
    "content": ("id", "hash", "page", "dpi", "width", "height", "measures", "processing_time_ms"),
    "embedding": ("content_id", "v"),
    "staged": ("content_id", "v"),
    "thumbnail": ("content_id", "jpeg"),
    "image": ("id", "file_id", "folder_id", "page", "content_id", "objects", "scenes", "attributes", "metadata",
              "thumbnail_url", "indexed_at"),
    "code": ("folder_id", "image_id", "c"),
    "tag": ("id", "category", "name", "phrase", "n"),
    "tag_alias": ("category", "alias", "tag_id"),
    "image_tag": ("tag_id", "image_id", "score"),
    "capture": ("content_id", "taken_at", "camera", "latitude", "longitude"),
    "page_range": ("file_id", "pages"),
    "validator": ("file_id", "etag"),
    "input": ("content_id", "digest"),
    "fingerprint": ("content_id", "v"),
}  # fmt: skip
"""The columns of every table, as SQLite has them."""

IDS = ("dataset", "root", "folder", "tag")
"""Tables of which the last id is asked for. Ids are the greatest and one, as SQLite's are: counters leave gaps."""

KEYS = {
    table: columns[: {"code": 2, "tag_alias": 2, "image_tag": 2}.get(table, 1)] for table, columns in COLUMNS.items()
}
"""The primary key of every table."""

TRIGGERS = {
    "image": ("image_tagged", "image_untagging", "image_retagged", "image_deleting", "image_deleted",
              "image_recontent", "image_moved", "image_unlinked"),
    "image_tag": ("tag_more", "tag_less"),
    "thumbnail": ("thumbnail_remade",),
}  # fmt: skip
"""The triggers that SQLite's tables have, too, by their tables."""

_LOADED = """
CREATE TABLE library(version int NOT NULL, changes bigint NOT NULL);

CREATE TABLE meta(key text COLLATE "C" PRIMARY KEY, value text COLLATE "C");
CREATE TABLE named_vector(name text COLLATE "C" PRIMARY KEY, v bytea NOT NULL,
  rowid bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE text_embedding(text text COLLATE "C" PRIMARY KEY, v bytea NOT NULL,
  rowid bigint GENERATED ALWAYS AS IDENTITY);

CREATE TABLE dataset(id bigint PRIMARY KEY DEFAULT next_id('dataset'), name text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE root(id bigint PRIMARY KEY DEFAULT next_id('root'), dataset_id bigint NOT NULL REFERENCES dataset,
  path text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE folder(id bigint PRIMARY KEY DEFAULT next_id('folder'), root_id bigint NOT NULL REFERENCES root,
  path text COLLATE "C" NOT NULL, images bigint NOT NULL DEFAULT 0, UNIQUE(root_id, path)) WITH (fillfactor = 50);

CREATE TABLE file(id bigint PRIMARY KEY DEFAULT next_id('file'), folder_id bigint NOT NULL REFERENCES folder,
  name text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL, size bigint, mtime_ns bigint, hash bytea,
  pages bigint NOT NULL DEFAULT 0, dpi bigint NOT NULL DEFAULT 0, reason text COLLATE "C", UNIQUE(folder_id, name));
CREATE INDEX file_hash ON file(hash) WHERE hash IS NOT NULL;

CREATE TABLE content(id bigint PRIMARY KEY DEFAULT next_id('content'), hash bytea NOT NULL, page bigint NOT NULL,
  dpi bigint NOT NULL, width bigint NOT NULL, height bigint NOT NULL, measures text COLLATE "C" NOT NULL,
  processing_time_ms double precision NOT NULL, UNIQUE(hash, page, dpi));
CREATE TABLE embedding(content_id bigint PRIMARY KEY REFERENCES content ON DELETE CASCADE, v {v}.vector NOT NULL);
CREATE TABLE staged(content_id bigint PRIMARY KEY REFERENCES content ON DELETE CASCADE, v {v}.vector NOT NULL);
CREATE TABLE thumbnail(content_id bigint PRIMARY KEY REFERENCES content ON DELETE CASCADE, jpeg bytea NOT NULL);
ALTER TABLE thumbnail ALTER jpeg SET STORAGE EXTERNAL;  -- is compressed, and read by its first bytes
CREATE TABLE capture(content_id bigint PRIMARY KEY REFERENCES content ON DELETE CASCADE, taken_at bigint,
  camera text COLLATE "C", latitude double precision, longitude double precision);
CREATE INDEX capture_taken_at ON capture(taken_at) WHERE taken_at IS NOT NULL;
CREATE TABLE page_range(file_id bigint PRIMARY KEY REFERENCES file ON DELETE CASCADE, pages text COLLATE "C" NOT NULL);
CREATE TABLE validator(file_id bigint PRIMARY KEY REFERENCES file ON DELETE CASCADE, etag text COLLATE "C" NOT NULL);
CREATE TABLE input(content_id bigint PRIMARY KEY REFERENCES content ON DELETE CASCADE, digest bytea NOT NULL);
CREATE INDEX input_digest ON input(digest);
CREATE TABLE fingerprint(content_id bigint PRIMARY KEY REFERENCES content ON DELETE CASCADE, v bytea NOT NULL);

CREATE TABLE image(id bigint PRIMARY KEY DEFAULT next_id('image'),
  file_id bigint NOT NULL REFERENCES file ON DELETE CASCADE, folder_id bigint NOT NULL REFERENCES folder,
  page bigint NOT NULL DEFAULT 0, content_id bigint NOT NULL REFERENCES content,
  objects text COLLATE "C" NOT NULL DEFAULT '{}', scenes text COLLATE "C" NOT NULL DEFAULT '{}',
  attributes text COLLATE "C" NOT NULL DEFAULT '{}', metadata text COLLATE "C", thumbnail_url text COLLATE "C",
  indexed_at bigint NOT NULL, UNIQUE(file_id, page));
CREATE INDEX image_folder ON image(folder_id);
CREATE INDEX image_content ON image(content_id);
CREATE TABLE code(folder_id bigint, image_id bigint, c bytea NOT NULL, PRIMARY KEY(folder_id, image_id));

CREATE TABLE tag(id bigint PRIMARY KEY DEFAULT next_id('tag'), category bigint NOT NULL, name text COLLATE "C" NOT NULL,
  phrase text COLLATE "C", n bigint NOT NULL DEFAULT 0, UNIQUE(category, name)) WITH (fillfactor = 50);
CREATE TABLE tag_alias(category bigint, alias text COLLATE "C", tag_id bigint NOT NULL REFERENCES tag,
  PRIMARY KEY(category, alias));
CREATE TABLE image_tag(tag_id bigint, image_id bigint, score double precision NOT NULL, PRIMARY KEY(tag_id, image_id));
CREATE INDEX image_labels ON image USING gin (labels(objects, scenes, attributes) jsonb_path_ops);
"""

_FOLLOWING = """
CREATE VIEW image_label(image_id, category, name, score) AS
  SELECT i.id, 0::bigint, j.key, j.value FROM image i, json_scores(i.objects) j UNION ALL
  SELECT i.id, 1, j.key, j.value FROM image i, json_scores(i.scenes) j UNION ALL
  SELECT i.id, 2, j.key, j.value FROM image i, json_scores(i.attributes) j;

CREATE FUNCTION image_tagged() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  WITH l AS MATERIALIZED (
      SELECT n.id, o.* FROM added n, labels_of(n.objects, n.scenes, n.attributes) o),
    made AS (
      INSERT INTO tag(category, name) SELECT l.category, l.name FROM l WHERE NOT EXISTS
        (SELECT 1 FROM tag t WHERE t.category = l.category AND t.name = l.name)
        GROUP BY l.category, l.name ORDER BY min(ARRAY[l.id, l.at]) RETURNING id, category, name)
    INSERT INTO image_tag SELECT coalesce(t.id, m.id), l.id, l.score FROM l
      LEFT JOIN tag t ON t.category = l.category AND t.name = l.name
      LEFT JOIN made m ON m.category = l.category AND m.name = l.name ORDER BY 1, 2;
  UPDATE folder SET images = folder.images + c.n FROM (SELECT folder_id, count(*) AS n FROM added GROUP BY 1) c
    WHERE id = c.folder_id;
  RETURN NULL;
END $$;
CREATE FUNCTION image_retagged() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO tag(category, name)
    SELECT l.category, l.name FROM labels_of(new.objects, new.scenes, new.attributes) l WHERE NOT EXISTS
    (SELECT 1 FROM tag t WHERE t.category = l.category AND t.name = l.name) ORDER BY l.at;
  INSERT INTO image_tag SELECT t.id, new.id, l.score FROM labels_of(new.objects, new.scenes, new.attributes) l
    JOIN tag t ON t.category = l.category AND t.name = l.name;
  RETURN NULL;
END $$;
CREATE FUNCTION image_untagging() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM image_tag WHERE image_id = old.id AND tag_id = ANY(ARRAY(
    SELECT t.id FROM labels_of(old.objects, old.scenes, old.attributes) l
    JOIN tag t ON t.category = l.category AND t.name = l.name));
  IF TG_OP = 'UPDATE' THEN
    RETURN new;
  END IF;
  DELETE FROM code WHERE folder_id = old.folder_id AND image_id = old.id;
  UPDATE folder SET images = images - 1 WHERE id = old.folder_id;
  RETURN old;
END $$;
CREATE FUNCTION image_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM content WHERE id = old.content_id AND NOT EXISTS
    (SELECT 1 FROM image WHERE content_id = old.content_id);
  RETURN NULL;
END $$;
CREATE FUNCTION image_moved() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE code SET folder_id = new.folder_id WHERE folder_id = old.folder_id AND image_id = old.id;
  UPDATE folder SET images = images - 1 WHERE id = old.folder_id;
  UPDATE folder SET images = images + 1 WHERE id = new.folder_id;
  RETURN NULL;
END $$;
CREATE FUNCTION image_unlinked() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE image SET thumbnail_url = NULL WHERE id = new.id;
  RETURN NULL;
END $$;
CREATE FUNCTION thumbnail_remade() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE image SET thumbnail_url = NULL WHERE content_id = new.content_id AND thumbnail_url IS NOT NULL;
  RETURN NULL;
END $$;
CREATE FUNCTION tag_more() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE tag SET n = tag.n + c.n FROM (SELECT tag_id, count(*) AS n FROM added GROUP BY 1) c WHERE id = c.tag_id;
  RETURN NULL;
END $$;
CREATE FUNCTION tag_less() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE tag SET n = tag.n - c.n FROM (SELECT tag_id, count(*) AS n FROM gone GROUP BY 1) c WHERE id = c.tag_id;
  RETURN NULL;
END $$;

CREATE TRIGGER image_tagged AFTER INSERT ON image REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION image_tagged();
CREATE TRIGGER image_untagging BEFORE UPDATE OF objects, scenes, attributes ON image FOR EACH ROW
  WHEN ((old.objects, old.scenes, old.attributes) IS DISTINCT FROM (new.objects, new.scenes, new.attributes))
  EXECUTE FUNCTION image_untagging();
CREATE TRIGGER image_retagged AFTER UPDATE OF objects, scenes, attributes ON image FOR EACH ROW
  WHEN ((old.objects, old.scenes, old.attributes) IS DISTINCT FROM (new.objects, new.scenes, new.attributes))
  EXECUTE FUNCTION image_retagged();
CREATE TRIGGER image_deleting BEFORE DELETE ON image FOR EACH ROW EXECUTE FUNCTION image_untagging();
CREATE TRIGGER image_deleted AFTER DELETE ON image FOR EACH ROW EXECUTE FUNCTION image_deleted();
CREATE TRIGGER image_recontent AFTER UPDATE OF content_id ON image FOR EACH ROW
  WHEN (old.content_id <> new.content_id) EXECUTE FUNCTION image_deleted();
CREATE TRIGGER image_moved AFTER UPDATE OF folder_id ON image FOR EACH ROW
  WHEN (old.folder_id <> new.folder_id) EXECUTE FUNCTION image_moved();
CREATE TRIGGER image_unlinked AFTER UPDATE OF content_id ON image FOR EACH ROW
  WHEN (old.content_id <> new.content_id AND new.thumbnail_url IS NOT NULL) EXECUTE FUNCTION image_unlinked();
CREATE TRIGGER thumbnail_remade AFTER UPDATE OF jpeg ON thumbnail FOR EACH ROW
  WHEN (old.jpeg <> new.jpeg) EXECUTE FUNCTION thumbnail_remade();
CREATE TRIGGER tag_more AFTER INSERT ON image_tag REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION tag_more();
CREATE TRIGGER tag_less AFTER DELETE ON image_tag REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION tag_less();

-- For other programs, as documented in the README. A path that is no UTF-8 begins with the last character of Unicode.
CREATE VIEW images AS SELECT i.id AS image_id, full_path(r.path, o.path, f.name, i.page) AS path,
    f.name AS filename, d.name AS dataset, o.path AS folder, nullif(i.page, 0) AS page, f.kind AS kind,
    f.size AS size, to_char(to_timestamp(floor(f.mtime_ns / 1e9)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
      AS modified,
    to_char(to_timestamp(p.taken_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') AS taken_at, p.camera AS camera,
    p.latitude AS latitude, p.longitude AS longitude, c.width AS width, c.height AS height,
    i.objects::jsonb AS objects, i.scenes::jsonb AS scenes, i.attributes::jsonb AS attributes,
    labels(i.objects, i.scenes, i.attributes) AS labels, json_clean(i.metadata)::jsonb AS metadata,
    i.thumbnail_url AS thumbnail_url, c.measures::jsonb AS measures, c.processing_time_ms AS processing_time_ms,
    encode(c.hash, 'hex') AS content_hash,
    to_char(to_timestamp(i.indexed_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS indexed_at
  FROM image i JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = i.folder_id JOIN root r ON r.id = o.root_id
    JOIN dataset d ON d.id = r.dataset_id JOIN content c ON c.id = i.content_id
    LEFT JOIN capture p ON p.content_id = c.id;
"""

_VIEWS = MIGRATIONS[1][MIGRATIONS[1].index("CREATE VIEW tags ") :]  # two that are the same in both

TABLES = _LOADED + _FOLLOWING + _VIEWS
"""Makes all tables of a new library, after `functions.FUNCTIONS`. {v}: the schema of pgvector."""
