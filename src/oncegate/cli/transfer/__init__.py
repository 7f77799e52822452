"""The client side of a link: what oncegate get and oncegate put do."""
