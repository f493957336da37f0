-- Keys that Feishu gave for bytes, so that the same bytes need not go twice. One that Feishu does not know
-- any more is deleted.
create table upload_key (
    app   integer not null,
    what  blob    not null,                -- SHA-256 of the kind of upload, what Feishu keeps of it, and the bytes' hash
    key   text    not null,
    job   blob    not null,                -- the id of the job that brought them
    at_ms integer not null,
    primary key (app, what)
) strict, without rowid;
create index upload_key_age on upload_key (at_ms);
