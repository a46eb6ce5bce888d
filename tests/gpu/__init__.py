"""What needs real weights from the hub."""
