"""Stores and runners beyond one machine, each an optional extra: imported only when a name or a flag asks for one."""
