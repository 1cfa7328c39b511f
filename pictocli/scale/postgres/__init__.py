"""Libraries in PostgreSQL with pgvector. `engine` is what `databases.py` asks for."""
