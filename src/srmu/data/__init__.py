"""Texts: read, turned into token rows, scheduled and compared."""
