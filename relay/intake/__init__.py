"""Where every door ends: check, name, commit; from then on the relay is responsible (RFC 5321 §4.2.5)."""
