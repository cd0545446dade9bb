"""Workers: several processes that are one instance (`server.workers`), and a parent that starts and watches them."""
