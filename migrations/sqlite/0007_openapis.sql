-- Calls in Feishu's own form: what Feishu answered them, and which of them repeat one another.

-- Feishu's answer to the attempt that ended it, {"http", "log_id", "body"}; goes with the content.
alter table job add column answer text;

-- Hash of the caller's uuid and of what it is unique within; a repeat gets the first one's answer.
alter table job add column uuid blob;
create index job_uuid on job (app, client, uuid, seq) where uuid is not null;
