"""Triton repository, C++ bundle, doctor."""
