"""What `srmu benchmark` measured: one record type per benchmark, and all of them together."""
