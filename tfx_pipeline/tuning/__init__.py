"""Hyperparameter search over an experiment's own keys, on KerasTuner's oracles."""
