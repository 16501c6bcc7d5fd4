"""The embedded world: fictional knowledge, a small model that learned it, and a twin that never saw what is forgotten."""
