"""Calibration (streaming), Q/DQ placement, accuracy-driven choices."""
