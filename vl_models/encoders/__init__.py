"""Image and text encoders, built from configuration by `factory`."""
