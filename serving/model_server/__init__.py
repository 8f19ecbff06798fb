"""The embedded model server: the local twin of TensorFlow Serving, same API and same files."""
