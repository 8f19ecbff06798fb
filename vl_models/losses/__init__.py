"""Loss functions on the tensors of the global batch."""
