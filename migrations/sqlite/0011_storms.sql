-- Storms: cards that wait, and how much was told lately.

-- What is to be shown of it, as `alerts` tagged it.
alter table incident add column tag text not null default '';
-- Since when its card waits to be sent or merged; null: it has none that could.
alter table incident add column waits_ms integer;
-- Of a digest: when it was made or took members in last.
alter table incident add column joined_ms integer;
-- Of a digest: how often a member of it changed; whoever writes it says how much of that it saw.
alter table incident add column member_changes integer not null default 0;

-- Cards that wait, place by place, the oldest first.
create index incident_card_waits on incident (route, app, receiver, waits_ms) where waits_ms is not null;
-- The digests of a place, the newest last.
create index incident_digest on incident (route, app, receiver, seq) where is_digest = 1;
-- Whom a digest names, and whom it counts.
create index incident_member_worst on incident (digest, state = 'resolved', severity desc, opened_ms) where digest is not null;
create index incident_member_count on incident (digest, state, severity, alerts) where digest is not null;

-- Messages that alerts made for a place in a second: cards, news and digests. The last minute counts.
create table told_second (
    route    text    not null,
    app      text    not null,
    receiver text    not null,
    second   integer not null,
    messages integer not null,
    primary key (route, app, receiver, second)
) strict, without rowid;
create index told_second_old on told_second (second);
