-- PostgreSQL's columns get types of their own; SQLite has none to give.
SELECT 1;
