"""End-to-end measurements of Stagepost and its peers, all on loopback (see README.md in this directory)."""
