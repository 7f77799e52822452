"""Pages for people: plain HTML, no script that a page can do without, nothing from elsewhere."""
