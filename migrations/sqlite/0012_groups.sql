-- Whom a group's end concerns beside the incidents of the routes that it takes now: routes may have changed since.
create index incident_group_open on incident (group_key) where state <> 'resolved';
