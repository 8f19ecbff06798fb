"""What TFX's Transform and Trainer call: `preprocessing_fn` and `run_fn`."""
