"""The tables of a picto database: the numbered scripts that made them, and whether a file has these and no others."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from pictocli.protocols import Database

__all__ = ["APPLICATION_ID", "MIGRATIONS", "alteration"]

APPLICATION_ID = 0x50494354  # "PICT": tells our files from other programs' SQLite files

MIGRATIONS = (
    """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    -- mean: what codes are centred on; labels, nulls: text vectors of the taxonomy's prompts
    CREATE TABLE vector(name TEXT PRIMARY KEY, v BLOB NOT NULL);
    CREATE TABLE text_embedding(text TEXT PRIMARY KEY, v BLOB NOT NULL);

    CREATE TABLE dataset(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE root(id INTEGER PRIMARY KEY, dataset_id INT NOT NULL REFERENCES dataset, path NOT NULL UNIQUE);
    CREATE TABLE folder(id INTEGER PRIMARY KEY, root_id INT NOT NULL REFERENCES root, path NOT NULL,
      images INT NOT NULL DEFAULT 0, UNIQUE(root_id, path));

    -- One row a file seen, skipped ones too (reason). size and mtime_ns are written with its last page: while they
    -- are NULL the file is unfinished and the next run takes it up again.
    CREATE TABLE file(id INTEGER PRIMARY KEY, folder_id INT NOT NULL REFERENCES folder, name NOT NULL,
      kind TEXT NOT NULL, size INT, mtime_ns INT, hash BLOB, pages INT NOT NULL DEFAULT 0, dpi INT NOT NULL DEFAULT 0,
      reason TEXT, UNIQUE(folder_id, name));
    CREATE INDEX file_hash ON file(hash) WHERE hash IS NOT NULL;

    -- What bytes decode to, shared by every copy of them. dpi is 0 unless rendered (PDF); page is 0 in one-image files.
    CREATE TABLE content(id INTEGER PRIMARY KEY, hash BLOB NOT NULL, page INT NOT NULL, dpi INT NOT NULL,
      width INT NOT NULL, height INT NOT NULL, measures TEXT NOT NULL, processing_time_ms REAL NOT NULL,
      UNIQUE(hash, page, dpi));
    CREATE TABLE embedding(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, v BLOB NOT NULL);
    CREATE TABLE staged(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, v BLOB NOT NULL);
    CREATE TABLE thumbnail(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, jpeg BLOB NOT NULL);

    -- folder_id repeats the file's: every scope filter needs it, and none then has to touch `file`.
    CREATE TABLE image(id INTEGER PRIMARY KEY, file_id INT NOT NULL REFERENCES file ON DELETE CASCADE,
      folder_id INT NOT NULL REFERENCES folder, page INT NOT NULL DEFAULT 0, content_id INT NOT NULL REFERENCES content,
      objects TEXT NOT NULL DEFAULT '{}', scenes TEXT NOT NULL DEFAULT '{}', attributes TEXT NOT NULL DEFAULT '{}',
      metadata TEXT, thumbnail_url TEXT, indexed_at INT NOT NULL, UNIQUE(file_id, page));
    CREATE INDEX image_folder ON image(folder_id);
    CREATE INDEX image_content ON image(content_id);
    CREATE TABLE code(folder_id INT, image_id INT, c BLOB NOT NULL, PRIMARY KEY(folder_id, image_id)) WITHOUT ROWID;

    CREATE TABLE tag(id INTEGER PRIMARY KEY, category INT NOT NULL, name TEXT NOT NULL, phrase TEXT,
      n INT NOT NULL DEFAULT 0, UNIQUE(category, name));
    CREATE TABLE tag_alias(category INT, alias TEXT, tag_id INT NOT NULL REFERENCES tag, PRIMARY KEY(category, alias))
      WITHOUT ROWID;
    CREATE TABLE image_tag(tag_id INT, image_id INT, score REAL NOT NULL, PRIMARY KEY(tag_id, image_id)) WITHOUT ROWID;

    -- The JSON columns are the truth; the inverted table, and the counts, follow them. No OR IGNORE in a trigger: the
    -- statement that fires it has its own conflict rule, and that one holds (an upsert's update aborts).
    CREATE VIEW image_label(image_id, category, name, score) AS
      SELECT i.id, 0, j.key, j.value FROM image i, json_each(i.objects) j UNION ALL
      SELECT i.id, 1, j.key, j.value FROM image i, json_each(i.scenes) j UNION ALL
      SELECT i.id, 2, j.key, j.value FROM image i, json_each(i.attributes) j;
    CREATE TRIGGER image_tagged AFTER INSERT ON image BEGIN
      INSERT INTO tag(category, name) SELECT category, name FROM image_label l WHERE image_id = new.id
        AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.category = l.category AND t.name = l.name);
      INSERT INTO image_tag SELECT t.id, new.id, l.score FROM image_label l
        JOIN tag t ON t.category = l.category AND t.name = l.name WHERE l.image_id = new.id;
      UPDATE folder SET images = images + 1 WHERE id = new.folder_id;
    END;
    CREATE TRIGGER image_untagging BEFORE UPDATE OF objects, scenes, attributes ON image BEGIN
      DELETE FROM image_tag WHERE image_id = old.id AND tag_id IN (SELECT t.id FROM image_label l
        JOIN tag t ON t.category = l.category AND t.name = l.name WHERE l.image_id = old.id);
    END;
    CREATE TRIGGER image_retagged AFTER UPDATE OF objects, scenes, attributes ON image BEGIN
      INSERT INTO tag(category, name) SELECT category, name FROM image_label l WHERE image_id = new.id
        AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.category = l.category AND t.name = l.name);
      INSERT INTO image_tag SELECT t.id, new.id, l.score FROM image_label l
        JOIN tag t ON t.category = l.category AND t.name = l.name WHERE l.image_id = new.id;
    END;
    CREATE TRIGGER image_deleting BEFORE DELETE ON image BEGIN
      DELETE FROM image_tag WHERE image_id = old.id AND tag_id IN (SELECT t.id FROM image_label l
        JOIN tag t ON t.category = l.category AND t.name = l.name WHERE l.image_id = old.id);
      DELETE FROM code WHERE folder_id = old.folder_id AND image_id = old.id;
      UPDATE folder SET images = images - 1 WHERE id = old.folder_id;
    END;
    CREATE TRIGGER image_deleted AFTER DELETE ON image BEGIN
      DELETE FROM content WHERE id = old.content_id AND NOT EXISTS
        (SELECT 1 FROM image WHERE content_id = old.content_id);
    END;
    CREATE TRIGGER image_recontent AFTER UPDATE OF content_id ON image WHEN old.content_id <> new.content_id BEGIN
      DELETE FROM content WHERE id = old.content_id AND NOT EXISTS
        (SELECT 1 FROM image WHERE content_id = old.content_id);
    END;
    CREATE TRIGGER image_moved AFTER UPDATE OF folder_id ON image WHEN old.folder_id <> new.folder_id BEGIN
      UPDATE code SET folder_id = new.folder_id WHERE folder_id = old.folder_id AND image_id = old.id;
      UPDATE folder SET images = images - 1 WHERE id = old.folder_id;
      UPDATE folder SET images = images + 1 WHERE id = new.folder_id;
    END;
    CREATE TRIGGER tag_more AFTER INSERT ON image_tag BEGIN UPDATE tag SET n = n + 1 WHERE id = new.tag_id; END;
    CREATE TRIGGER tag_less AFTER DELETE ON image_tag BEGIN UPDATE tag SET n = n - 1 WHERE id = old.tag_id; END;
    """,
    # Tables beside those that are there, and no ALTER: what SQLite keeps of a table stays as it was written, which
    # `alteration` compares first.
    """
    -- What a camera wrote into a picture. taken_at: seconds since 1970 by its own clock, whatever its zone.
    CREATE TABLE capture(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, taken_at INT, camera TEXT,
      latitude REAL, longitude REAL);
    CREATE INDEX capture_taken_at ON capture(taken_at) WHERE taken_at IS NOT NULL;
    -- Of a PDF of which not all pages are wanted, those that are: 1-5,9,20-
    CREATE TABLE page_range(file_id INTEGER PRIMARY KEY REFERENCES file ON DELETE CASCADE, pages TEXT NOT NULL);
    -- What a server said of a file's bytes, by which it says later whether they are the same: an ETag or a date.
    CREATE TABLE validator(file_id INTEGER PRIMARY KEY REFERENCES file ON DELETE CASCADE, etag TEXT NOT NULL);
    -- A digest of the very pixels that the model saw, and of the measures: what looks the same is not embedded again.
    CREATE TABLE input(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, digest BLOB NOT NULL);
    CREATE INDEX input_digest ON input(digest);
    -- What of a picture tells whether another one is a copy of it, resized, recompressed, cropped or turned.
    CREATE TABLE fingerprint(content_id INTEGER PRIMARY KEY REFERENCES content ON DELETE CASCADE, v BLOB NOT NULL);

    -- A picture's address is that of the thumbnail that is stored: when either changes, there is none.
    CREATE TRIGGER image_unlinked AFTER UPDATE OF content_id ON image
      WHEN old.content_id <> new.content_id AND new.thumbnail_url IS NOT NULL BEGIN
      UPDATE image SET thumbnail_url = NULL WHERE id = new.id;
    END;
    CREATE TRIGGER thumbnail_remade AFTER UPDATE OF jpeg ON thumbnail WHEN old.jpeg <> new.jpeg BEGIN
      UPDATE image SET thumbnail_url = NULL WHERE content_id = new.content_id AND thumbnail_url IS NOT NULL;
    END;

    -- For other programs, documented in the README: these keep their columns, whatever the tables become. Names that
    -- are no UTF-8 are BLOBs, and so is a path with one: a text that is none would end the query in other programs.
    CREATE VIEW images AS SELECT i.id AS image_id,
        iif('blob' IN (typeof(r.path), typeof(o.path), typeof(f.name)),
          CAST(rtrim(r.path, '/') || '/' || iif(o.path = '', '', o.path || '/') || f.name
            || iif(i.page > 0, '#page=' || i.page, '') AS BLOB),
          rtrim(r.path, '/') || '/' || iif(o.path = '', '', o.path || '/') || f.name
            || iif(i.page > 0, '#page=' || i.page, '')) AS path,
        f.name AS filename, d.name AS dataset, o.path AS folder, nullif(i.page, 0) AS page, f.kind AS kind,
        f.size AS size, strftime('%Y-%m-%dT%H:%M:%SZ', (f.mtime_ns - iif(f.mtime_ns < 0, 999999999, 0)) / 1000000000,
          'unixepoch') AS modified,
        strftime('%Y-%m-%dT%H:%M:%S', p.taken_at, 'unixepoch') AS taken_at, p.camera AS camera,
        p.latitude AS latitude, p.longitude AS longitude, c.width AS width, c.height AS height,
        i.objects AS objects, i.scenes AS scenes, i.attributes AS attributes, i.metadata AS metadata,
        i.thumbnail_url AS thumbnail_url, c.measures AS measures, c.processing_time_ms AS processing_time_ms,
        lower(hex(c.hash)) AS content_hash,
        strftime('%Y-%m-%dT%H:%M:%SZ', i.indexed_at, 'unixepoch') AS indexed_at
      FROM image i JOIN file f ON f.id = i.file_id JOIN folder o ON o.id = i.folder_id JOIN root r ON r.id = o.root_id
        JOIN dataset d ON d.id = r.dataset_id JOIN content c ON c.id = i.content_id
        LEFT JOIN capture p ON p.content_id = c.id;
    CREATE VIEW tags AS SELECT x.image_id AS image_id,
        CASE t.category WHEN 0 THEN 'objects' WHEN 1 THEN 'scenes' ELSE 'attributes' END AS category, t.name AS label,
        x.score AS score FROM image_tag x JOIN tag t ON t.id = x.tag_id;
    CREATE VIEW embeddings AS SELECT i.id AS image_id, e.v AS embedding
      FROM image i JOIN embedding e ON e.content_id = i.content_id;
    """,
)


def alteration(db: Database, scripts: Sequence[str]) -> str | None:
    """What of these scripts' tables, indexes, views and triggers is not in the database as they make it; or None.

    A trigger that they do not make is one, too: it would run when picto writes. Other tables, views and indexes are
    not: nothing of picto's reads them.
    """
    found = db.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    text = "".join(scripts)
    kept = {sql for _, _, sql in found if f"{sql};" in text}  # SQLite keeps a statement as it was written
    if len(kept) == text.count("    CREATE ") and all(sql in kept for kind, _, sql in found if kind == "trigger"):
        return None
    plain = apsw.Connection(":memory:")  # 0.8 ms, where an ALTER TABLE has changed what is kept, or something is wrong
    for script in scripts:
        plain.execute(script)
    made = set(plain.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall())
    plain.close()
    for kind, name, _ in sorted(made - set(found)):
        return f"its {kind} {name} is missing or not as picto makes it"
    for kind, name, _ in found:
        if kind == "trigger" and name not in {known for _, known, _ in made}:
            return f"its trigger {name} is not picto's"
    return None
