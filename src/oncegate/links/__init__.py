"""Pure rules: parse, sign and verify links, and decide their uses. Standard library only; no clock, socket, file or environment."""
