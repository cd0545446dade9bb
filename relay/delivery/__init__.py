"""One attempt: a connection, a mail transaction on it, and what the replies mean."""
