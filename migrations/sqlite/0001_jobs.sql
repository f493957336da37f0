-- The queue. Times are Unix milliseconds, `_ms` in the name; JSON stands in text columns.

create table app (
    id   integer primary key,
    name text not null unique
) strict;

create table job (
    seq      integer primary key,          -- order of acceptance, given by the writer; the order of a lane
    id       blob    not null unique,      -- UUIDv7, so that this index grows at its end
    app      integer not null references app (id),
    client   text    not null,
    kind     text    not null,
    state    text    not null check (state in ('queued', 'sending', 'done', 'failed', 'expired', 'canceled', 'in_doubt')),
    own      integer not null default 0,   -- 1: the relay's own work, not a producer's
    parent   integer,                      -- seq of the job it hangs on
    role     text    not null default '',  -- of a child: then, first, recall, progress
    -- where it stands
    lane     text    not null,             -- '' until a job that is named has made the message; U+0001 and the id: none
    stands   integer not null,             -- 1: its schedule is reached and its dependencies are done
    blocked  integer not null default 0,   -- dependencies not done yet
    rank     integer not null,             -- 0 tried, else priority
    priority integer not null check (priority in (1, 2, 3)),
    run_ms   integer not null,             -- not before
    delay_ms integer not null default 0,   -- added when the last dependency is done
    expires_ms  integer,                   -- not after, as the producer said
    deadline_ms integer,                   -- expires_ms, else when the relay gives up; null while it waits for another job
    -- what it is
    receiver text,
    message  text,                         -- the message acted on, when known
    key      text,
    key_hash blob,
    labels   text    not null default '{}',
    args     text,                         -- null once content_retention is over
    resolved text,                         -- what other jobs made for it
    size     integer not null,             -- bytes of content an attempt holds
    weight   integer not null default 1,   -- people the next part reaches
    parts    integer not null default 0,   -- how many parts it has
    dependents integer not null default 0, -- how many jobs wait for it or hang on it
    on_doubt text    not null default 'hold',
    on_refused text  not null default 'fail',
    -- what was tried
    attempt  integer not null default 0,   -- marks so far; a result names the one it belongs to
    mark_ms  integer,
    mark_boot_ms integer,
    mark_boot_id text,
    tries    integer not null default 0,
    unsent   integer not null default 0,
    unclear  integer not null default 0,
    token    integer not null default 0,
    unknown_ms integer,                    -- the first attempt with an unknown outcome, of the present window
    unknown_boot_ms integer,
    unknown_boot_id text,
    resent   integer not null default 0,   -- sent again at somebody's word
    verify   integer not null default 0,   -- 1: look first at what the unknown attempt did
    wish     text,                         -- 'recall': wanted while it was under way
    attempts text    not null default '[]',
    actions  text    not null default '[]',
    -- what came of it
    message_id text,
    receipt  text,
    error    text,
    progress text,
    recalled_ms integer,
    created_ms  integer not null,
    finished_ms integer,
    check ((finished_ms is not null) = (state in ('done', 'failed', 'expired', 'canceled'))),
    check (state <> 'sending' or mark_ms is not null),
    check (blocked = 0 or stands = 0)
) strict;

-- Lane heads: the dispatcher seeks lane after lane here and never reads a second job of one.
create index job_lane on job (app, rank, lane, seq) where state = 'queued' and stands = 1;
-- Jobs that wait for their time only.
create index job_due on job (run_ms) where state = 'queued' and stands = 0 and blocked = 0;
-- Deadlines.
create index job_deadline on job (deadline_ms) where state = 'queued' and deadline_ms is not null;
-- Marks without a result; read once, at start.
create index job_sending on job (seq) where state = 'sending';
-- What a person must settle.
create index job_in_doubt on job (seq) where state = 'in_doubt';
-- Retention.
create index job_finished on job (finished_ms) where finished_ms is not null;
-- A producer's keys; only where one was given.
create unique index job_key on job (app, client, key) where key is not null;
-- Look-up by Feishu's id, and recalls that others asked for.
create index job_message on job (message_id) where message_id is not null;
create index job_parent on job (parent) where parent is not null;

-- A job that needs something of another: its end, its message, its batches, its image.
create table dependency (
    parent integer not null,
    child  integer not null,
    role   text    not null check (role in ('after', 'message', 'batch', 'image')),
    open   integer not null default 1,     -- 0: done
    primary key (parent, child, role)
) strict, without rowid;
create index dependency_child on dependency (child);

-- The parts of a batch, fixed at acceptance.
create table part (
    job   integer not null,
    n     integer not null,
    state text    not null check (state in ('queued', 'sending', 'done', 'failed', 'expired', 'canceled', 'in_doubt')),
    args  text,
    count integer not null,
    batch_message_id text,
    recalled_ms integer,                   -- when what stands under that id was taken back
    receipt text,
    error text,
    primary key (job, n)
) strict, without rowid;
create index part_batch on part (batch_message_id) where batch_message_id is not null;

-- Numbers that are never counted: written in the batch they count.
create table counter (
    app   integer not null,
    name  text    not null,                -- 'own:' and a state for the relay's own jobs, else a state
    value integer not null,
    primary key (app, name)
) strict, without rowid;

-- Calls begun per second, of the last minute: what the windows of app and API start from.
create table call_second (
    app    integer not null,
    api    text    not null,
    second integer not null,
    calls  integer not null,
    primary key (second, app, api)
) strict, without rowid;

-- Calls that count towards the month's quota, by month in UTC+8 (`2026-11`).
create table month_calls (
    app   integer not null,
    month text    not null,
    api   text    not null,
    calls integer not null,
    primary key (app, month, api)
) strict, without rowid;

-- What a day (UTC+8) has spent: people buzzed by SMS and telephone, people whom batches reached.
create table day_use (
    app    integer not null,
    day    text    not null,               -- `2026-11-21`
    what   text    not null,               -- a kind
    amount integer not null,
    primary key (day, app, what)
) strict, without rowid;

-- What is stopped. `by` is 'hand' (until resumed) or 'fault' (until it is mended; dropped at start).
create table pause (
    app   integer not null,                -- 0: every app
    lane  text    not null,                -- '': every lane
    api   text    not null,                -- '': every call
    by    text    not null check (by in ('hand', 'fault')),
    code  integer,
    reason text   not null,
    since_ms integer not null,
    probe_ms integer,                      -- when the next job tries
    primary key (app, lane, api, by)
) strict, without rowid;

create table meta (
    name  text primary key,
    value text not null
) strict, without rowid;

-- Bytes beside the database, by hash, and how many jobs may still need them.
create table upload (
    sha256 text primary key,
    jobs   integer not null
) strict, without rowid;
