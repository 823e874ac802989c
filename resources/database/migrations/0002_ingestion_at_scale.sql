-- What a tick asks of a day, kept as rows arrive, so that it costs the same whether a day has ten objects or a million.
-- checksum: the sum of a hash of each (key, version id), whatever their order. Rows of `objects` are only added, so the
-- count alone already changes with each; the sum tells ledgers apart that have as many.
create table object_days (
    bucket text not null,
    day date not null,
    objects bigint not null,
    checksum numeric not null,
    newest_at timestamptz not null default now(),
    primary key (bucket, day)
);

create function object_checksum(key text, version_id text) returns numeric language sql immutable as $$
    select ('x' || left(md5(key || chr(10) || version_id), 16))::bit(64)::bigint::numeric
$$;

create function count_objects() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into object_days (bucket, day, objects, checksum)
        select bucket, day, count(*), sum(object_checksum(key, version_id)) from changed group by bucket, day order by 1, 2
        on conflict (bucket, day) do update set
            objects = object_days.objects + excluded.objects,
            checksum = object_days.checksum + excluded.checksum,
            newest_at = now();
    else
        update object_days d set objects = d.objects - c.objects, checksum = d.checksum - c.checksum
        from (
            select bucket, day, count(*) as objects, sum(object_checksum(key, version_id)) as checksum
            from changed group by bucket, day
        ) c where (d.bucket, d.day) = (c.bucket, c.day);
    end if;
    return null;
end
$$;

create trigger objects_added after insert on objects
    referencing new table as changed for each statement execute function count_objects();
-- Nothing of ours deletes; a person who does keeps true counts.
create trigger objects_deleted after delete on objects
    referencing old table as changed for each statement execute function count_objects();

insert into object_days (bucket, day, objects, checksum, newest_at)
select bucket, day, count(*), sum(object_checksum(key, version_id)), max(seen_at) from objects group by bucket, day;

-- Messages of the upload queue that could not be understood: kept here with their reason before they are deleted there.
create table queue_rejects (
    queue text not null,
    message_id text not null,
    reason text not null,
    body text not null,
    received_at timestamptz not null default now(),
    primary key (queue, message_id)
);

-- What became of an object version since it was seen, as reconciling found it: overwritten, deleted (hidden behind a delete
-- marker), gone (not in the bucket any more), or current (again). Rows are added, never changed; the newest one counts,
-- and a version without one is current.
create table object_fates (
    fate_id bigint generated always as identity primary key,
    bucket text not null,
    key text not null,
    version_id text not null,
    fate text not null check (fate in ('current', 'overwritten', 'deleted', 'gone')),
    found_at timestamptz not null default now(),
    foreign key (bucket, key, version_id) references objects
);
create index object_fates_latest on object_fates (bucket, key, version_id, fate_id desc);

-- Each walk through a bucket, so that a killed one goes on where it was: after the key `place`.
create table reconciliations (
    reconciliation_id bigint generated always as identity primary key,
    bucket text not null,
    is_dry_run boolean not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    place text,
    listed bigint not null default 0,
    entered bigint not null default 0,
    overwritten bigint not null default 0,
    deleted bigint not null default 0,
    gone bigint not null default 0,
    restored bigint not null default 0
);

-- The versions that the walk in progress has listed; emptied at its end. Not logged: a walk whose list is lost starts anew.
create unlogged table reconciled (
    reconciliation_id bigint not null,
    key text not null,
    version_id text not null,
    primary key (reconciliation_id, key, version_id)
);
