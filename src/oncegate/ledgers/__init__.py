"""Where uses are recorded: one small interface, a folder per backend, and the loop that writes until it knows."""
