"""From a configuration to listeners that answer, and whether they are ready."""
