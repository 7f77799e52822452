"""What is remembered of a link and what follows from it: the record, the rules of a use, and where a link stands. Pure."""
