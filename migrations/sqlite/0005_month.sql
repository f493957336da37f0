-- The month's calls by cause, so that a person sees what spends the quota. Months and days are UTC+8.

-- Calls that count towards the month's quota (`2026-11`).
create table ledger (
    month text    not null,
    app   integer not null,
    cause text    not null,                -- a kind; check: a look at an earlier attempt; probe: is Feishu back?
    again integer not null check (again in (0, 1)), -- 1: it repeats an attempt
    calls integer not null,
    lost  integer not null,                -- of these, calls whose answer never came: they may not have counted
    primary key (month, app, cause, again)
) strict, without rowid;

-- What was counted before causes were: by call, which is nearly a kind.
insert into ledger (month, app, cause, again, calls, lost)
select month, app, case api when 'send_message' then 'send' when 'get_message' then 'check' else api end, 0, sum(calls), 0
  from month_calls
 group by 1, 2, 3;
drop table month_calls;

-- The same by day (`2026-11-21`): what a forecast is made from.
create table ledger_day (
    day   text    not null,
    app   integer not null,
    calls integer not null,
    primary key (day, app)
) strict, without rowid;

-- What was said of a tenant's month: that so many percent of a quota are spent, or that a person opened the reserve.
create table month_word (
    month  text    not null,
    tenant text    not null,
    word   text    not null,               -- '80', '90', '100' or 'open'
    quota  integer not null,               -- of which; another quota is another word. 0: of 'open'
    at_ms  integer not null,
    primary key (month, tenant, word, quota)
) strict, without rowid;

-- Whom a pause of the relay's own does not stop: '' nobody, 'high' (the month's reserve).
alter table pause add column spares text not null default '';
