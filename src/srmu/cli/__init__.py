"""The command line: one file a command; nothing else in the package prints."""
