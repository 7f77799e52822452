"""The store file: the files beneath one folder."""
