-- The ladder of a card that may not go as a card: 0 the card, 1 a post, 2 a text. Each rung has a `uuid` of its own.
alter table job add column rung integer not null default 0 check (rung between 0 and 2);

-- How it came to that rung: JSON object. Null on rung 0.
alter table job add column degraded text check (degraded is null or json_valid(degraded));
