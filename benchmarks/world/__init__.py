"""The embedded world: fictional knowledge, a small model that learned it, and its untold twin."""
