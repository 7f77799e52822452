"""What the commands of ``oncegate aws`` share, and those that do not fit beside the others."""
