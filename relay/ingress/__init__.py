"""The SMTP door: speaks RFC 5321 with legacy clients, and hands what they bring to intake. The only room with aiosmtpd."""
