"""What is wrong with this cell, and what to type about it. Looks only; what it writes it removes."""
