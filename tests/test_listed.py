"""Things named one by one: each once, by folder, with the last fields that were said of it."""

from __future__ import annotations

import tracemalloc

from pictocli.listed import Named


def test_each_is_there_once_with_its_last_fields() -> None:
    named = Named()
    for path, fields in [
        ("/a/b/1.jpg", {"id": 1}), ("https://h/x/2.jpg", None), ("/a/b/1.jpg", {"id": 2}), ("/a/\udce9.jpg", {"id": 3}),
        ("https://h/x/2.jpg", None), ("/top.jpg", None),
    ]:  # fmt: skip
        named.add(path, fields)
    assert (named.count, named.repeated) == (4, 2)
    assert sorted(named.folders()) == ["/", "/a", "/a/b", "https://h/x"]
    for folder, root in [("/a", "/a"), ("/a/b", "/a"), ("https://h/x", "https://h"), ("/", "/")]:
        named.put_below(folder, root)
    assert list(named.below("/a")) == [("/a", ["\udce9.jpg"]), ("/a/b", ["1.jpg"])]
    assert list(named.below("https://h")) == [("https://h/x", ["2.jpg"])]
    assert list(named.below("/")) == [("/", ["top.jpg"])]
    assert named.fields("/a/b/1.jpg") == {"id": 2}
    assert named.fields("/a/\udce9.jpg") == {"id": 3}
    assert named.fields("https://h/x/2.jpg") is None
    assert named.fields("/never/named.jpg") is None


def test_many_take_little_memory() -> None:
    count = 30_000
    tracemalloc.start()
    named = Named()
    for at in range(count):
        named.add(f"https://host/{at % 300:03}/image-{at}.jpg", {"product_id": at, "brand": "Acme"})
    folders = list(named.folders())
    for folder in folders:
        named.put_below(folder, "https://host")
    assert sum(len(names) for _, names in named.below("https://host")) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(folders), named.repeated) == (300, 0)
    assert named.fields("https://host/007/image-29707.jpg") == {"product_id": 29707, "brand": "Acme"}
    assert peak < 2**20  # of Python's, where their texts alone are three times that; SQLite keeps 2 MB of pages
