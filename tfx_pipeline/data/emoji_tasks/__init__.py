"""Questions about the demo's pictures, made of their words in the form of published data sets."""
