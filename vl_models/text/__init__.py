"""Query normalisation and tokenisers, all as graph functions."""
