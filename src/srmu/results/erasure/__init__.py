"""Erasure requests: their records, the log that only grows, and the page to sign."""
