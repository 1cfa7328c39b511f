"""What must hold between the tables of a database, each rule a query for what breaks it.

Every query gives one text a row: what is wrong with, in words. None of them writes, and none fails for what a row
holds.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "AGAIN", "ALONE", "BAD_BESIDE", "BAD_CONTENT", "BAD_DATASET", "BAD_FILE", "BAD_FOLDER", "BAD_NAME", "BAD_ROOT",
    "BAD_TAG", "BAD_THUMBNAIL", "BAD_TIME", "CODES", "KINDS", "LABELS", "MEND", "OTHER_CONTENT", "RULES", "TEXTS",
    "Rule",
]  # fmt: skip

MEND = "picto repair"
AGAIN = "picto repair, then picto index with the same folder: only these are embedded again"


class Rule(NamedTuple):
    """what: a phrase for what `sql` finds. derived: repairing loses nothing."""

    what: str
    derived: bool
    remedy: str
    sql: str


def _whole(*columns: str) -> str:
    """A term that is true when one of these columns is no whole number of 0 or more."""
    return " OR ".join(f"typeof({column}) <> 'integer' OR {column} < 0" for column in columns)


KINDS = "('jpeg', 'png', 'webp', 'bmp', 'gif', 'tiff', 'heic', 'avif', 'jxl', 'pdf', 'raw', 'crash', 'other')"

# Terms that are true of rows that picto never writes.
BAD_DATASET = "typeof(name) <> 'text' OR name = ''"
BAD_ROOT = (
    "typeof(path) NOT IN ('text', 'blob') OR instr(CAST(path AS BLOB), x'00')"
    " OR (substr(CAST(path AS BLOB), 1, 1) <> x'2f' AND NOT (typeof(path) = 'text' AND"
    " (path GLOB 's3://?*' OR path GLOB 'http://?*' OR path GLOB 'https://?*')))"
)
BAD_FOLDER = (
    "typeof(path) NOT IN ('text', 'blob') OR substr(CAST(path AS BLOB), 1, 1) = x'2f'"
    " OR instr(CAST(path AS BLOB), x'00')"
)
BAD_NAME = (
    "typeof(name) NOT IN ('text', 'blob') OR length(name) = 0 OR instr(CAST(name AS BLOB), x'00')"
    " OR instr(CAST(name AS BLOB), x'2f')"
)
BAD_FILE = (
    f"kind NOT IN {KINDS} OR (size IS NULL) <> (mtime_ns IS NULL) OR typeof(size) NOT IN ('integer', 'null')"
    " OR size < 0 OR typeof(mtime_ns) NOT IN ('integer', 'null') OR typeof(hash) NOT IN ('blob', 'null')"
    f" OR typeof(reason) NOT IN ('text', 'null') OR {_whole('pages', 'dpi')}"
)
BAD_TIME = "typeof(indexed_at) <> 'integer' OR abs(indexed_at) > 17179869184"
BAD_CONTENT = (
    "typeof(hash) <> 'blob' OR typeof(processing_time_ms) NOT IN ('integer', 'real') OR processing_time_ms < 0"
    f" OR processing_time_ms > 9e15 OR width < 1 OR height < 1 OR {_whole('width', 'height', 'page', 'dpi')}"
)
BAD_THUMBNAIL = "typeof(jpeg) <> 'blob' OR substr(jpeg, 1, 3) <> x'ffd8ff'"
BAD_BESIDE = {
    "capture": (
        "typeof(taken_at) NOT IN ('integer', 'null') OR abs(taken_at) > 17179869184"
        " OR typeof(camera) NOT IN ('text', 'null') OR (latitude IS NULL) <> (longitude IS NULL)"
        " OR typeof(latitude) NOT IN ('integer', 'real', 'null') OR abs(latitude) > 90"
        " OR typeof(longitude) NOT IN ('integer', 'real', 'null') OR abs(longitude) > 180"
    ),
    "input": "typeof(digest) <> 'blob'",
    "fingerprint": "typeof(v) <> 'blob' OR length(v) <> 1024",
    "page_range": "typeof(pages) <> 'text' OR pages NOT GLOB '[1-9]*' OR pages GLOB '*[^0-9,-]*'",
    "validator": "typeof(etag) <> 'text' OR etag = ''",
}
"""Of the tables that hold more of some contents or files."""
BAD_TAG = "category NOT IN (0, 1, 2) OR typeof(category) <> 'integer' OR typeof(name) <> 'text'"
# of an image i, its file f and its content c
OTHER_CONTENT = "f.hash IS NOT NULL AND (c.hash, c.page, c.dpi) IS NOT (f.hash, i.page, f.dpi)"
ALONE = "NOT EXISTS (SELECT 1 FROM image i WHERE i.content_id = content.id)"

RULES = (
    Rule("datasets, roots and folders whose names are no names", False, MEND,
         f"SELECT 'dataset ' || id FROM dataset WHERE {BAD_DATASET}"
         f" UNION ALL SELECT 'root ' || id FROM root WHERE {BAD_ROOT}"
         f" UNION ALL SELECT 'folder ' || id FROM folder WHERE {BAD_FOLDER}"),
    Rule("folders with a wrong count of images", True, MEND,
         "SELECT 'folder ' || o.id FROM folder o LEFT JOIN (SELECT folder_id, count(*) n FROM image GROUP BY folder_id)"
         " c ON c.folder_id = o.id WHERE o.images IS NOT ifnull(c.n, 0)"),
    Rule("files whose name is no file name", False, AGAIN,
         f"SELECT 'file ' || id FROM file WHERE {BAD_NAME}"),
    Rule("files whose kind, size, time or pages are not as picto writes them", False, AGAIN,
         f"SELECT 'file ' || id FROM file WHERE {BAD_FILE}"),
    Rule("finished files without an image", False, AGAIN,
         "SELECT 'file ' || id FROM file WHERE size IS NOT NULL AND reason IS NULL AND pages > 0"
         " AND NOT EXISTS (SELECT 1 FROM image i WHERE i.file_id = file.id)"),
    Rule("images of files that hold none, or not so many pages", False, AGAIN,
         "SELECT 'image ' || i.id FROM image i JOIN file f ON f.id = i.file_id"
         " WHERE f.pages = 0 OR f.reason IS NOT NULL OR i.page > f.pages"),
    Rule("images that are counted in another folder than their file's", True, MEND,
         "SELECT 'image ' || i.id FROM image i JOIN file f ON f.id = i.file_id WHERE i.folder_id IS NOT f.folder_id"),
    Rule("images whose page, time or address is not as picto writes it", False, AGAIN,
         f"SELECT 'image ' || id FROM image WHERE {_whole('page')} OR {BAD_TIME}"
         " OR typeof(thumbnail_url) NOT IN ('text', 'null')"),
    Rule("images without an embedding", False, AGAIN,
         "SELECT 'image ' || i.id FROM image i JOIN file f ON f.id = i.file_id WHERE f.size IS NOT NULL"
         " AND NOT EXISTS (SELECT 1 FROM embedding e WHERE e.content_id = i.content_id)"),
    Rule("images that show another page or file than they say", False, AGAIN,
         "SELECT 'image ' || i.id FROM image i JOIN file f ON f.id = i.file_id JOIN content c ON c.id = i.content_id"
         f" WHERE f.size IS NOT NULL AND {OTHER_CONTENT}"),
    Rule("contents whose size, time or page are not as picto writes them", False, AGAIN,
         f"SELECT 'content ' || id FROM content WHERE {BAD_CONTENT}"),
    Rule("contents that no image shows", False, MEND,
         f"SELECT 'content ' || id FROM content WHERE {ALONE}"),
    Rule("thumbnails that are no JPEG", False, "picto repair, then picto index --thumbnails",
         f"SELECT 'content ' || content_id FROM thumbnail WHERE {BAD_THUMBNAIL}"),
    *(
        Rule(f"rows of {table} that are not as picto writes them", False, "picto repair, then picto index --force",
             f"SELECT '{table} ' || rowid FROM {table} WHERE {bad}")
        for table, bad in BAD_BESIDE.items()
    ),
    Rule("labels of no category, or without a name", True, MEND,
         f"SELECT 'tag ' || id FROM tag WHERE {BAD_TAG} OR typeof(phrase) NOT IN ('text', 'null')"),
    Rule("labels with a wrong count of images", True, MEND,
         "SELECT 'tag ' || t.id FROM tag t LEFT JOIN (SELECT tag_id, count(*) n FROM image_tag GROUP BY tag_id) c"
         " ON c.tag_id = t.id WHERE t.n IS NOT ifnull(c.n, 0)"),
)  # fmt: skip

LABELS = """
    WITH label(image_id, category, name, score) AS (
      SELECT i.id, 0, j.key, j.value FROM image i, json_each(CASE WHEN json_valid(i.objects, 1) THEN i.objects END) j
      UNION ALL
      SELECT i.id, 1, j.key, j.value FROM image i, json_each(CASE WHEN json_valid(i.scenes, 1) THEN i.scenes END) j
      UNION ALL
      SELECT i.id, 2, j.key, j.value FROM image i,
        json_each(CASE WHEN json_valid(i.attributes, 1) THEN i.attributes END) j)
    SELECT count(*), sum(x.score IS NOT l.score), min(CASE WHEN x.score IS NOT l.score THEN l.image_id END),
      (SELECT count(*) FROM image_tag)
    FROM label l LEFT JOIN tag t ON t.category = l.category AND t.name = l.name
      LEFT JOIN image_tag x ON x.tag_id = t.id AND x.image_id = l.image_id"""
"""(tags of all images, of these not listed or with another score, an image of one, rows of image_tag)."""

CODES = (
    Rule("images whose 1-bit code is missing or wrong", True, MEND,
         "SELECT 'image ' || i.id FROM image i CROSS JOIN embedding e ON e.content_id = i.content_id"
         " LEFT JOIN code c ON c.folder_id = i.folder_id AND c.image_id = i.id WHERE :mean IS NOT NULL"
         " AND c.c IS NOT CASE WHEN typeof(e.v) = 'blob' AND length(e.v) = length(:mean)"
         " THEN vec_quantize_binary(vec_sub(e.v, :mean)) ELSE c.c END"),
    Rule("1-bit codes of no image", True, MEND,
         "SELECT 'image ' || c.image_id FROM code c WHERE :mean IS NULL OR NOT EXISTS"
         " (SELECT 1 FROM image i WHERE i.id = c.image_id AND i.folder_id = c.folder_id)"),
)  # fmt: skip

TEXTS = (
    ("dataset", "name"), ("root", "path"), ("folder", "path"), ("file", "name"), ("file", "kind"), ("file", "reason"),
    ("image", "objects"), ("image", "scenes"), ("image", "attributes"), ("image", "metadata"),
    ("image", "thumbnail_url"), ("content", "measures"), ("capture", "camera"), ("validator", "etag"),
    ("page_range", "pages"),
    ("tag", "name"), ("tag", "phrase"), ("tag_alias", "alias"),
    ("meta", "key"), ("meta", "value"), ("vector", "name"), ("text_embedding", "text"),
)  # fmt: skip
"""(table, column) of everything that may be text."""
