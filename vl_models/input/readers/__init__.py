"""How the keys of a batch are read from Examples: one reader for each, see `table`."""
