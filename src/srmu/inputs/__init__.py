"""What the user gives: texts and questions, read, checked and turned into rows of tokens."""
