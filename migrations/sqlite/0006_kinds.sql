-- Replies, edits, forwards, reactions, cards: a job may need any id that another makes, and of several
-- updates of one message only the newest is sent.

-- A job that needs something of another, once more: the rule on `role` could not be widened in place.
create table dependency_wider (
    parent integer not null,
    child  integer not null,
    role   text    not null check (role in ('after', 'message', 'batch', 'image', 'file', 'reaction', 'value')),
    open   integer not null default 1,     -- 0: done
    primary key (parent, child, role)
) strict, without rowid;
insert into dependency_wider select parent, child, role, open from dependency;
drop table dependency;
alter table dependency_wider rename to dependency;
create index dependency_child on dependency (child);

-- Of an edit or a card update that stands, or stood, in its lane: its kind and its message.
alter table job add column fold text;
-- 1: a newer one of its `fold` goes first; this one stands in no lane until that one is refused.
alter table job add column parked integer not null default 0
    check (parked = 0 or (stands = 0 and fold is not null));

-- The open ones of a message, and which of them stands.
create index job_fold on job (app, fold, seq) where fold is not null and finished_ms is null;
create index job_front on job (app, fold, seq) where fold is not null and state = 'queued' and parked = 0;
-- Those that wait for their time only: not the parked.
drop index job_due;
create index job_due on job (run_ms) where state = 'queued' and stands = 0 and blocked = 0 and parked = 0;

-- Jobs of a `fold` up to `seq` that a done one carried and that are still to be ended: a long list takes
-- more than one batch.
create table folding (
    app     integer not null,
    fold    text    not null,
    seq     integer not null,              -- of the job that carried them
    primary key (app, fold)
) strict, without rowid;
