"""The collateral audit: what a run took that nobody asked about, judged on what the base knows."""
