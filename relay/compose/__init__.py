"""From parts to an RFC 5322 message: pure functions of a Draft."""
