-- PostgreSQL's statements for ordinary messages take rows of types of their own; SQLite's have views (sql/on_open).
SELECT 1;
