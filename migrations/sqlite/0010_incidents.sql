-- Incidents of the alert sinks: what is to be shown of a group of alerts, and which jobs show it.

create table incident (
    seq      integer primary key,          -- the order in which they began: of a group the newest counts
    id       blob    not null unique,      -- UUIDv7, given by whoever wrote it first
    version  integer not null,             -- every change names the one it was made from
    route    text    not null,             -- the route's identity, as `alerts` makes it
    group_key text   not null,             -- what the source calls the group
    app      text    not null,             -- by name: it may not be configured any more
    receiver text    not null,
    client   text    not null,
    state    text    not null check (state in ('firing', 'acknowledged', 'resolved')),
    severity integer not null,             -- the worse the higher
    title    text    not null,
    alerts   integer not null,             -- how many it has, firing or not
    body     text    not null,             -- JSON, read and written by `alerts` alone
    is_digest integer not null check (is_digest in (0, 1)),
    digest   integer,                      -- seq of the digest that speaks for it
    digest_tag text,                       -- what that says of it
    wants_digest integer not null check (wants_digest in (0, 1)),
    opened_ms  integer not null,
    changed_ms integer not null,
    ended_ms   integer,
    due_ms     integer,                    -- when somebody must look at it
    message_id text,                       -- its message: outlives the job that made it
    check ((digest is null) = (digest_tag is null)),
    check (digest is null or is_digest = 0)
) strict;

create index incident_group on incident (route, group_key, seq);
create index incident_due on incident (due_ms) where due_ms is not null;
-- What is open, for counts.
create index incident_open on incident (state) where state <> 'resolved';
-- Retention.
create index incident_over on incident (changed_ms) where state = 'resolved';
-- Those for whom a digest speaks.
create index incident_member on incident (digest, seq) where digest is not null;
-- Those that wait for the next digest.
create index incident_waiting on incident (route, receiver, seq) where wants_digest = 1;

-- What a job does for its incident.
create table incident_job (
    incident integer not null,             -- its seq
    job      integer not null,             -- its seq
    role     text    not null check (role in ('card', 'update', 'news', 'moved', 'pin', 'unpin', 'rung')),
    n        integer not null,
    tag      text    not null,             -- what it carries
    noticed  integer not null default 0,   -- 1: the incident knows how it ended; any further change makes it 0
    primary key (incident, job)
) strict, without rowid;
create index incident_job_open on incident_job (incident, job) where noticed = 0;

-- seq of the incident that it speaks of. No index: from the incident one goes by incident_job.
alter table job add column incident integer;

-- A job that needs something of another, once more: `merged` waits for a digest's and takes its end.
create table dependency_wider (
    parent integer not null,
    child  integer not null,
    role   text    not null check (role in ('after', 'message', 'batch', 'image', 'file', 'reaction', 'value', 'merged')),
    open   integer not null default 1,     -- 0: done
    primary key (parent, child, role)
) strict, without rowid;
insert into dependency_wider select parent, child, role, open from dependency;
drop table dependency;
alter table dependency_wider rename to dependency;
create index dependency_child on dependency (child);

-- Jobs of digests that ended, or wait again, and whose merged jobs and members are still to hear it: many take
-- more than one batch.
create table merging (
    parent integer primary key,            -- the digest's job
    digest integer not null,               -- the digest
    told   integer not null default 0      -- members up to this seq have heard
) strict;
