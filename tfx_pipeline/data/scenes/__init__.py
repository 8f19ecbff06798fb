"""Scenes: two or three of the demo's pictures on a canvas, and sentences true of them."""
