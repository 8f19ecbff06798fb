"""Evaluation of a release: encoding, ranking, slices, intervals, comparison, blessing."""
