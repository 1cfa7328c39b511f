"""The points among which PostgreSQL finds the nearest: their table, what keeps it in step, and its indexes.

Every image has a point: its embedding, and the dataset and folder that it lies in, in a table of a partition a dataset.
An HNSW index (Malkov and Yashunin 2016) of a whole library finds too little in a part of it, .89 of the nearest in one
dataset; one a partition finds all of them. The indexes are built after the load: by `build`, not row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from psycopg import errors

from pictocli.catalog import EXACT_BELOW
from pictocli.protocols import Database

__all__ = ["POINTS", "POINT_FUNCTIONS", "Server", "build"]

_MOST_DIMS = {"halfvec": 4000, "vector": 2000}  # that pgvector puts into an HNSW index
_BYTES = {"halfvec": 2, "vector": 4}
_LINKS = 400  # bytes that an index's graph takes for an image while it is built, beside its vector
_MEMORY = (64, 2048)  # MB that building takes at least and at most: what does not fit is built several times slower
_WORKERS = 4  # that build an index beside the first; the server has the last word (max_parallel_workers)

# toast_tuple_target: a vector of up to 2,000 floats stays in its row, where comparing with every one reads it in turn.
POINTS = """
ALTER TABLE embedding SET (toast_tuple_target = 8160);
CREATE TABLE point(image_id bigint NOT NULL, dataset_id bigint NOT NULL, folder_id bigint NOT NULL, v {type} NOT NULL,
  PRIMARY KEY(dataset_id, image_id)) PARTITION BY LIST (dataset_id);

CREATE TRIGGER point_dataset AFTER INSERT ON dataset FOR EACH ROW EXECUTE FUNCTION point_dataset();
CREATE TRIGGER point_embedded AFTER INSERT ON embedding REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION point_embedded();
CREATE TRIGGER point_embedded_anew AFTER UPDATE ON embedding REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION point_embedded();
CREATE TRIGGER point_forgotten AFTER DELETE ON embedding REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION point_forgotten();
CREATE TRIGGER point_added AFTER INSERT ON image REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION point_added();
CREATE TRIGGER point_removed AFTER DELETE ON image REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION point_removed();
CREATE TRIGGER point_moved AFTER UPDATE OF folder_id, content_id ON image FOR EACH ROW
  WHEN (old.folder_id <> new.folder_id OR old.content_id <> new.content_id) EXECUTE FUNCTION point_moved();
"""
"""Makes the table of points, after the tables that are SQLite's, too. {type}: pgvector's type, halfvec or vector."""

POINT_FUNCTIONS = """
-- Attached, not made as a partition: that would wait for all who read the others.
CREATE OR REPLACE FUNCTION point_dataset() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF to_regclass(format('%I.%I', TG_TABLE_SCHEMA, 'point_' || new.id)) IS NULL THEN
    EXECUTE format('CREATE TABLE %I (LIKE point INCLUDING ALL) WITH (toast_tuple_target = 8160)', 'point_' || new.id);
    EXECUTE format('ALTER TABLE point ATTACH PARTITION %I FOR VALUES IN (%s)', 'point_' || new.id, new.id);
    EXECUTE format('ALTER TABLE %I OWNER TO %I', 'point_' || new.id, (SELECT pg_get_userbyid(relowner) FROM pg_class
      WHERE oid = 'point'::regclass));  -- not of a member of its role: whoever indexes or vacuums it owns it
  END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION point_embedded() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO point AS p SELECT i.id, r.dataset_id, i.folder_id, n.v::{type}
    FROM added n JOIN image i ON i.content_id = n.content_id
    JOIN folder o ON o.id = i.folder_id JOIN root r ON r.id = o.root_id
    ON CONFLICT (dataset_id, image_id) DO UPDATE SET v = excluded.v;
  RETURN NULL;
END $$;
-- One by one, each by the key: the server does not know how few there are, and might go through all points instead.
CREATE OR REPLACE FUNCTION point_forgotten() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE each record;
BEGIN
  FOR each IN SELECT i.id, r.dataset_id FROM gone g JOIN image i ON i.content_id = g.content_id
      JOIN folder o ON o.id = i.folder_id JOIN root r ON r.id = o.root_id LOOP
    DELETE FROM point WHERE dataset_id = each.dataset_id AND image_id = each.id;
  END LOOP;
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION point_added() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO point SELECT n.id, r.dataset_id, n.folder_id, e.v::{type}
    FROM added n JOIN embedding e ON e.content_id = n.content_id
    JOIN folder o ON o.id = n.folder_id JOIN root r ON r.id = o.root_id;
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION point_removed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE each record;
BEGIN
  FOR each IN SELECT g.id, r.dataset_id FROM gone g JOIN folder o ON o.id = g.folder_id
      JOIN root r ON r.id = o.root_id LOOP
    DELETE FROM point WHERE dataset_id = each.dataset_id AND image_id = each.id;
  END LOOP;
  RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION point_moved() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM point WHERE image_id = old.id AND dataset_id =
    (SELECT r.dataset_id FROM folder o JOIN root r ON r.id = o.root_id WHERE o.id = old.folder_id);
  INSERT INTO point SELECT new.id, r.dataset_id, new.folder_id, e.v::{type} FROM embedding e, folder o
    JOIN root r ON r.id = o.root_id WHERE e.content_id = new.content_id AND o.id = new.folder_id;
  RETURN NULL;
END $$;
"""
"""What the triggers of these run: functions that replace those of an older picto."""


class Server(Database, Protocol):
    """A `Database` whose own SQL is spoken, too."""

    def native(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement of PostgreSQL's SQL, values bound as %s, never prepared; and return its rows, if any."""

    def translation(self, statement: str, bindings: Any = None) -> tuple[str, list[Any]]:
        """A statement of SQLite's SQL and its values, as `native` takes them."""


def build(db: Server) -> None:
    """Make the indexes that pay, and drop those that serve no more, while others read and write.

    The largest datasets get one, until all that have none are so few images that comparing with each is as fast.
    """
    dims = db.native("SELECT vector_dims(v) FROM embedding LIMIT 1")
    ((kind,),) = db.native(
        "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'point'::regclass AND attname = 'v'"
    )
    kind = kind.rpartition(".")[2]  # of its schema, where that is none in which names are looked up
    if not dims or dims[0][0] > _MOST_DIMS[kind]:
        return
    left = {dataset_id: int(images) for dataset_id, images in db.native(
        "SELECT r.dataset_id, sum(o.images) FROM folder o JOIN root r ON r.id = o.root_id GROUP BY 1"
    )}  # fmt: skip
    for dataset_id in sorted(left, key=lambda each: left[each], reverse=True):
        if sum(left.values()) < EXACT_BELOW:
            break
        _build_one(db, dataset_id, dims[0][0], kind, left.pop(dataset_id))


def _build_one(db: Server, dataset_id: int, dims: int, kind: str, images: int) -> None:
    """Give a dataset its index, unless it has it or somebody else is about to."""
    name = f"point_{dataset_id}_{dims}"
    with _alone(db, dataset_id) as alone:
        held = dict(db.native(
            "SELECT n.relname, x.indisvalid FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid"
            " JOIN pg_am a ON a.oid = n.relam WHERE a.amname = 'hnsw' AND x.indrelid = to_regclass(%s)",
            (f"point_{dataset_id}",),
        ))  # fmt: skip
        if not alone or held == {name: True}:
            return
        at_once = "" if db.in_transaction else "CONCURRENTLY"
        for other, valid in held.items():  # of an earlier model, or of a run that was stopped
            if other != name or not valid:
                db.native(f"DROP INDEX {at_once} {other}")
        if held.get(name):
            return
        create = (
            f"CREATE INDEX {at_once} {name} ON point_{dataset_id} USING hnsw ((v::{kind}({dims})) {kind}_cosine_ops)"
            f" WHERE vector_dims(v) = {dims}"
        )
        memory = images * (dims * _BYTES[kind] + _LINKS) * 5 // 4 // 2**20
        with _settings(db, min(max(memory, _MEMORY[0]), _MEMORY[1])):
            try:
                db.native(create)
            except errors.DiskFull as exc:  # a container's shared memory is 64 MB, unless it is told otherwise
                if "shared memory" not in str(exc) or db.in_transaction:
                    raise
                ((schema,),) = db.native("SELECT quote_ident(current_schema())")  # where it is not, one beside has it
                db.native(f"DROP INDEX IF EXISTS {schema}.{name}")
                db.native("SELECT set_config('max_parallel_maintenance_workers', '0', false)")
                db.native(create)
        db.native(f"ANALYZE point_{dataset_id}")


@contextmanager
def _alone(db: Server, dataset_id: int) -> Iterator[bool]:
    """Whether no other connection builds this dataset's index. Who waited for it would make it wait for himself."""
    key = f"('point'::regclass::oid::bigint << 32 | {int(dataset_id)})"
    ((alone,),) = db.native(f"SELECT pg_try_advisory_lock({key})")
    try:
        yield alone
    finally:
        if alone:
            db.native(f"SELECT pg_advisory_unlock({key})")


@contextmanager
def _settings(db: Server, memory: int) -> Iterator[None]:
    """Build with so many MB of memory, unless the server gives more by itself, and with several processes."""
    db.native(
        "SELECT set_config('maintenance_work_mem', greatest(setting::bigint, %s)::text, false),"
        " set_config('max_parallel_maintenance_workers', %s, false)"
        " FROM pg_settings WHERE name = 'maintenance_work_mem'",
        (memory * 1024, str(_WORKERS)),
    )
    try:
        yield
    finally:
        for name in ("maintenance_work_mem", "max_parallel_maintenance_workers"):
            db.native(f"RESET {name}")
