r"""Time, memory and work of models, ours and others, side by side."""
