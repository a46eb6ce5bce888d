"""What only authors run."""
