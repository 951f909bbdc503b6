"""Checkpoint -> nn.Module: safe loading, recognising an architecture, the networks timm lacks."""
