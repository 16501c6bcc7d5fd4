"""The selective protocol: requests of three kinds on two real models, and what a run does to all that it did not name."""
