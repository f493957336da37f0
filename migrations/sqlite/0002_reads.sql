-- Who read what was sent.

-- What the producer wants followed after the job is done, as written: {"reads": {"every", "for"}}.
alter table job add column track text;
-- Readers known so far; null as long as nobody asked, so that a list need not look further.
alter table job add column readers integer;

-- Those who read a message. Of a batch Feishu tells numbers only; they stand in `progress` of what asked.
create table reader (
    job     integer not null,              -- seq of the job that made the message
    user_id text    not null,              -- an open_id
    read_ms integer,                       -- as Feishu says it
    primary key (job, user_id)
) strict, without rowid;
