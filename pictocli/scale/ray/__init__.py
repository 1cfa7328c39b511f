"""Indexing on the nodes of a Ray cluster. `runner` is what `runners.py` asks for."""
