"""The browsable reference at `/docs`: made here from the description, and readable without scripts and without a network."""
