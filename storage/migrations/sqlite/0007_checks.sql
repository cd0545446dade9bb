-- The same checks in words that cost less: for a list of more than two values SQLite builds a table in memory whenever a row is
-- written, of which a message has seven. Here they are compared one after the other, the frequent ones first.
-- Only the words change, and no row is touched, however long the queue is (sqlite.org/lang_altertable.html, section 7).

PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql,
    'source IN (''smtp'', ''rest'', ''sendmail'')',
    'source = ''smtp'' OR source = ''rest'' OR source = ''sendmail''')
WHERE type = 'table' AND name = 'messages';

UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''preparing'', ''open'', ''held'', ''sent'', ''partial'', ''failed'', ''cancelled'', ''captured'')',
    'state = ''open'' OR state = ''sent'' OR state = ''failed'' OR state = ''captured'' OR state = ''partial''
        OR state = ''held'' OR state = ''cancelled'' OR state = ''preparing''')
WHERE type = 'table' AND name = 'messages';

UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''queued'', ''deferred'', ''held'', ''unknown'', ''sent'', ''failed'', ''expired'', ''cancelled'', ''suppressed'', ''captured'')',
    'state = ''queued'' OR state = ''sent'' OR state = ''deferred'' OR state = ''failed'' OR state = ''captured''
        OR state = ''held'' OR state = ''unknown'' OR state = ''expired'' OR state = ''cancelled'' OR state = ''suppressed''')
WHERE type = 'table' AND name = 'recipients';

UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''ready'', ''leased'', ''held'', ''done'')',
    'state = ''leased'' OR state = ''done'' OR state = ''ready'' OR state = ''held''')
WHERE type = 'table' AND name = 'deliveries';

PRAGMA writable_schema = RESET;
