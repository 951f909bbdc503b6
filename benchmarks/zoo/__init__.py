"""Every architecture of timm and torchvision that holds an SE module: are its blocks found, and is the fused graph equal?"""
