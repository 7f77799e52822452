"""Where the objects are: one small interface, a file per backend."""
