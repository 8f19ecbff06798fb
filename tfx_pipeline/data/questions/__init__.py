"""Questions and sentences about images, with answers from a closed set: published file formats."""
