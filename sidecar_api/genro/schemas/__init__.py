"""The shapes of genro-mail-proxy, and what they are in ours."""
