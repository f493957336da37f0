-- Questions that went through more than they asked for.

-- Who is under way, by lane: each new job of a busy lane asks whether somebody is, however many are in others.
drop index job_sending;
create index job_sending on job (app, lane) where state = 'sending';

-- What is open, by route, as it is counted: not by way of what is over.
drop index incident_open;
create index incident_open on incident (route, state) where state <> 'resolved';
