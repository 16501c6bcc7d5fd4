"""Erasure requests from their receipt to the signature: make, run and check, show, close."""
