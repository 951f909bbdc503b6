"""Accuracy with confidence intervals, latency, bisecting, the report."""
