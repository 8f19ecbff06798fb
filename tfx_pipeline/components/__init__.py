"""The pipeline's own components and artifact types."""
