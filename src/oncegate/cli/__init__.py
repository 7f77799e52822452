"""The command line: starts, wires, prints. The only place that knows everything."""
