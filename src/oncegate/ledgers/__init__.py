"""Where uses are recorded: one small interface, a file per backend, and the loop that writes until it knows."""
