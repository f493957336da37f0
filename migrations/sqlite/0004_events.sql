-- The order in which producers' jobs settled: where a stream of events goes on after a broken connection.
-- The wall clock cannot say it, for it may be set back.

alter table job add column settle_seq integer -- given by the writer; null while open, and on the relay's own jobs
    check (settle_seq is null or finished_ms is not null);

create index job_settled on job (settle_seq) where settle_seq is not null;
