"""The work of `srmu benchmark`: one module per benchmark, and what they share."""
