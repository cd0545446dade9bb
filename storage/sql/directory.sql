-- Tenants and what they own.

-- setting: a value by its name
SELECT value FROM settings WHERE name = :name;

-- put_setting: keep a value
INSERT INTO settings (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- delete_setting: forget a value if it is this one
DELETE FROM settings WHERE name = :name AND value = :value;

-- forget_setting: forget a value, whatever it is
DELETE FROM settings WHERE name = :name;

-- raise_version: mark a change of the configuration
UPDATE settings SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE name = 'configuration_version'
RETURNING CAST(value AS BIGINT);

-- touch_store: a write that changes nothing, to know whether one can be made
UPDATE settings SET value = value WHERE name = 'configuration_version';

-- is_used: whether anything was ever put in
SELECT 1 WHERE EXISTS (SELECT 1 FROM tenants) OR EXISTS (SELECT 1 FROM tokens) OR EXISTS (SELECT 1 FROM accounts);

-- {tenant_columns}: in the order of rows.read_tenant
id, name, default_account, created_at, per_minute, per_hour, per_day, limit_unit, on_limit, retry, duplicates_window,
suppress_on, suppress_for

-- tenant: one
SELECT {tenant_columns} FROM tenants WHERE id = :tenant;

-- domain_limits: of a tenant
SELECT domain, per_minute, per_hour, per_day, limit_unit, on_limit FROM domain_limits
WHERE tenant_id = :tenant ORDER BY domain;

-- suspensions: of a tenant: of its batches, and '' for the whole of it
SELECT batch, suspended FROM suspensions WHERE tenant_id = :tenant ORDER BY batch;

-- insert_domain_limits: of a tenant
-- rows: tenant_id text, domain text, per_minute bigint, per_hour bigint, per_day bigint, limit_unit text, on_limit text
INSERT INTO domain_limits (tenant_id, domain, per_minute, per_hour, per_day, limit_unit, on_limit)
SELECT tenant_id, domain, per_minute, per_hour, per_day, limit_unit, on_limit FROM given;

-- delete_domain_limits: all of a tenant
DELETE FROM domain_limits WHERE tenant_id = :tenant;

-- delete_suspensions: all of a tenant
DELETE FROM suspensions WHERE tenant_id = :tenant;

-- tenants: all
SELECT {tenant_columns} FROM tenants ORDER BY id;

-- insert_tenant: a new one; nothing where the id is taken
INSERT INTO tenants ({tenant_columns})
VALUES (
    :id, :name, :default_account, :created_at, :per_minute, :per_hour, :per_day, :limit_unit, :on_limit, :retry,
    :duplicates_window, :suppress_on, :suppress_for
)
ON CONFLICT DO NOTHING;

-- update_tenant: what can be changed of it
UPDATE tenants SET
    name = :name,
    default_account = :default_account,
    per_minute = :per_minute,
    per_hour = :per_hour,
    per_day = :per_day,
    limit_unit = :limit_unit,
    on_limit = :on_limit,
    retry = :retry,
    duplicates_window = :duplicates_window,
    suppress_on = :suppress_on,
    suppress_for = :suppress_for
WHERE id = :id;

-- set_default_account: of a tenant
UPDATE tenants SET default_account = :account WHERE id = :tenant;

-- delete_tenant: the tenant alone; what it owns goes before
DELETE FROM tenants WHERE id = :tenant;

-- is_open_for_tenant: whether mail of a tenant is open
SELECT 1 WHERE EXISTS (
    SELECT 1 FROM messages WHERE tenant_id = :tenant AND state = 'open' AND state <> 'sent'
) OR EXISTS (
    SELECT 1 FROM messages WHERE tenant_id = :tenant AND state = 'held' AND state <> 'sent'
) OR EXISTS (
    SELECT 1 FROM messages WHERE tenant_id = :tenant AND state = 'preparing' AND state <> 'sent'
);

-- {account_columns}: in the order of rows.read_account
tenant_id, id, kind, host, port, tls, login, password, max_connections, max_messages_per_connection,
per_minute, per_hour, per_day, limit_unit, on_limit, batch_size, on_unknown, guarded, version, created_at, retry, enabled

-- account: one of an owner
SELECT {account_columns} FROM accounts WHERE tenant_id = :owner AND id = :account;

-- accounts: all, or all of an owner
SELECT {account_columns} FROM accounts
WHERE CAST(:owner AS TEXT) IS NULL OR tenant_id = :owner
ORDER BY tenant_id, id;

-- insert_account: a new one; nothing where the owner has one of this id
INSERT INTO accounts ({account_columns})
VALUES (
    :tenant_id, :id, :kind, :host, :port, :tls, :login, :password, :max_connections, :max_messages_per_connection,
    :per_minute, :per_hour, :per_day, :limit_unit, :on_limit, :batch_size, :on_unknown, :guarded, :version, :created_at,
    :retry, :enabled
)
ON CONFLICT DO NOTHING;

-- update_account: what can be changed of it
UPDATE accounts SET
    host = :host, port = :port, tls = :tls, login = :login, password = :password,
    max_connections = :max_connections, max_messages_per_connection = :max_messages_per_connection,
    per_minute = :per_minute, per_hour = :per_hour, per_day = :per_day, limit_unit = :limit_unit, on_limit = :on_limit,
    batch_size = :batch_size, on_unknown = :on_unknown, guarded = :guarded, version = :version, retry = :retry,
    enabled = :enabled
WHERE tenant_id = :tenant_id AND id = :id;

-- delete_account: one
DELETE FROM accounts WHERE tenant_id = :owner AND id = :account;

-- delete_accounts: all of an owner
DELETE FROM accounts WHERE tenant_id = :owner;

-- forget_default_account: where it is gone and no other of that id takes its place
UPDATE tenants SET default_account = NULL
WHERE default_account = :account
    AND NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.id = :account AND accounts.tenant_id IN (tenants.id, '*'));

-- is_waited_for: whether mail waits for an account; its queue keys begin with `first`, and all of them stand before `end`
SELECT 1 WHERE EXISTS (
    SELECT 1 FROM deliveries
    WHERE state = 'ready' AND suspended = 0 AND queue_key >= CAST(:first AS TEXT) AND queue_key < CAST(:end AS TEXT)
) OR EXISTS (
    SELECT 1 FROM deliveries
    WHERE state = 'ready' AND suspended = 1 AND queue_key >= CAST(:first AS TEXT) AND queue_key < CAST(:end AS TEXT)
) OR EXISTS (
    SELECT 1 FROM deliveries
    WHERE state = 'leased' AND queue_key >= CAST(:first AS TEXT) AND queue_key < CAST(:end AS TEXT)
) OR EXISTS (
    SELECT 1 FROM deliveries
    WHERE state = 'held' AND queue_key >= CAST(:first AS TEXT) AND queue_key < CAST(:end AS TEXT)
);

-- {credential_columns}: in the order of rows.read_credential
username, tenant_id, secret_hash, networks, account_id, allowed_senders, priority, batch, tags, created_at,
previous_hash, previous_until

-- credential: by user name
SELECT {credential_columns} FROM credentials WHERE username = :username;

-- credentials: all, or all of a tenant
SELECT {credential_columns} FROM credentials
WHERE CAST(:tenant AS TEXT) IS NULL OR tenant_id = :tenant
ORDER BY username;

-- insert_credential: a new one; nothing where the user name is taken
INSERT INTO credentials ({credential_columns})
VALUES (
    :username, :tenant_id, :secret_hash, :networks, :account_id, :allowed_senders, :priority, :batch, :tags, :created_at,
    :previous_hash, :previous_until
)
ON CONFLICT DO NOTHING;

-- update_credential: what can be changed of it
UPDATE credentials SET
    secret_hash = :secret_hash, networks = :networks, account_id = :account_id, allowed_senders = :allowed_senders,
    priority = :priority, batch = :batch, tags = :tags, previous_hash = :previous_hash, previous_until = :previous_until
WHERE username = :username;

-- delete_credential: if it is this tenant's (NULL: any)
DELETE FROM credentials WHERE username = :username AND (CAST(:tenant AS TEXT) IS NULL OR tenant_id = :tenant);

-- delete_credentials: all of a tenant
DELETE FROM credentials WHERE tenant_id = :tenant;

-- {token_columns}: in the order of rows.read_token
id, name, tenant_id, scopes, expires_at, created_at, networks, last_used_at

-- token: by the hash of its secret
SELECT {token_columns} FROM tokens WHERE secret_hash = :secret_hash;

-- token_by_previous: by the hash of the secret before its last rotation, and until when that is good
SELECT {token_columns}, previous_until FROM tokens WHERE previous_hash = :secret_hash;

-- token_by_id: one
SELECT {token_columns} FROM tokens WHERE id = :token;

-- update_token: what can be changed of it
UPDATE tokens SET name = :name, scopes = :scopes, expires_at = :expires_at, networks = :networks WHERE id = :id;

-- rotate_token: a new secret, the old one good for a while
UPDATE tokens SET previous_hash = secret_hash, previous_until = :previous_until, secret_hash = :secret_hash WHERE id = :id;

-- note_token_uses: when they were used last
-- rows: id text, at bigint
UPDATE tokens SET last_used_at = given.at FROM given
WHERE tokens.id = given.id AND (tokens.last_used_at IS NULL OR tokens.last_used_at < given.at);

-- tokens: all, or all of a tenant
SELECT {token_columns} FROM tokens
WHERE CAST(:tenant AS TEXT) IS NULL OR tenant_id = :tenant
ORDER BY id;

-- insert_token: a new one; nothing where id or secret are taken
INSERT INTO tokens (id, name, tenant_id, secret_hash, scopes, expires_at, created_at, networks)
VALUES (:id, :name, :tenant_id, :secret_hash, :scopes, :expires_at, :created_at, :networks)
ON CONFLICT DO NOTHING;

-- delete_token: if it is this tenant's (NULL: any)
DELETE FROM tokens WHERE id = :token AND (CAST(:tenant AS TEXT) IS NULL OR tenant_id = :tenant);

-- delete_tokens: all of a tenant
DELETE FROM tokens WHERE tenant_id = :tenant;

-- client_side: a tenant's own HTTP server
SELECT tenant_id, base_url, sync_path, attachment_path, auth, login, secret, active FROM client_sides
WHERE tenant_id = :tenant;

-- client_sides: all of them
SELECT tenant_id, base_url, sync_path, attachment_path, auth, login, secret, active FROM client_sides;

-- put_client_side: as it is from now on
INSERT INTO client_sides (tenant_id, base_url, sync_path, attachment_path, auth, login, secret, active)
VALUES (:tenant, :base_url, :sync_path, :attachment_path, :auth, :login, :secret, :active)
ON CONFLICT (tenant_id) DO UPDATE SET
    base_url = excluded.base_url, sync_path = excluded.sync_path, attachment_path = excluded.attachment_path,
    auth = excluded.auth, login = excluded.login, secret = excluded.secret, active = excluded.active;

-- delete_client_side: a tenant's
DELETE FROM client_sides WHERE tenant_id = :tenant;

-- used_passwords: the ciphertexts that the key file must open
SELECT password FROM accounts WHERE password IS NOT NULL
UNION ALL SELECT secret FROM client_sides WHERE secret IS NOT NULL
UNION ALL SELECT value FROM settings WHERE name = 'bounce_password';
