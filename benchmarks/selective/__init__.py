"""The selective protocol: three kinds of request on two real models, and what a run does to all that nobody named."""
