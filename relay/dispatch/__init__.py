"""Which delivery goes when, by whom, and what follows from its attempt."""
