"""What was measured, read and shown: comparisons, acceptance criteria, the page. No torch."""
