"""Data and releases in object stores: `s3://` and `gs://`, through Beam's file systems."""
