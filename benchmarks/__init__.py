"""Speed, measured by hand; nothing here passes or fails."""
