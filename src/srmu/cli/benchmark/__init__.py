"""`srmu benchmark`: one module per benchmark, which shows its table as its paper does."""
