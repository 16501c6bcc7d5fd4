"""The command line: one file per command; nothing else in the package prints."""
