"""From an experiment and Examples to trained, exported towers."""
