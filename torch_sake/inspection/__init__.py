r"""A look at the labels before a run: what is likely wrong with them."""
