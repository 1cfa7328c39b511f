"""Libraries of Lance tables, in a folder or in a bucket. `engine` is what `databases.py` asks for."""
