"""Joint encoders: what reads the tokens of a text and of an image together."""
