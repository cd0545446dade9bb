"""What the routes of genro-mail-proxy do: one call to what `/v1` calls as well, and its answer."""
