"""Where the objects are: one small interface, a folder per backend."""
