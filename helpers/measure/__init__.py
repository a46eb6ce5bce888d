"""What is measured: quality (`metrics`), speed and memory (`speed`), who is better (`ranking`), on what machine."""
