"""Cutting the subject out of a picture with numpy and Pillow alone."""
