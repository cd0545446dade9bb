"""The command line: `stagepost NOUN VERB`, one file for each noun.

Everything but `serve` and `config` speaks the REST API, over the Unix socket of the running relay or, where none runs, of
an API composed in this process; so there is one set of rules for both doors of administration.
"""
