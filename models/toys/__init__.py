"""Painted data with a known truth: faces, scenes, even numbers. NumPy and Pillow alone."""
