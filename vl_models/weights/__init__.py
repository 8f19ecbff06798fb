"""Weights of other programs, brought into the towers here without those programs."""
