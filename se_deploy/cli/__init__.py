"""Typer: one file per command, options -> stage -> rendering."""
