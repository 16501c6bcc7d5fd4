"""The demo: a real language model at hand, fact tables and sentence forms of our own, and two requests."""
