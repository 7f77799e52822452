"""The command line: a file per command; starts, wires, prints. The only place that knows everything."""
