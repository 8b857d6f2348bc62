"""Trainer for latent8's own models. Needs torch, NumPy and Pillow alone; see training/README.md."""
