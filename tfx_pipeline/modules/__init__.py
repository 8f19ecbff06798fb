"""What TFX's Transform, Trainer and Tuner call: `preprocessing_fn`, `run_fn` and `tuner_fn`."""
