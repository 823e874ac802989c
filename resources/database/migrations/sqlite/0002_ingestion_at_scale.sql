-- The same tables as in the file of this name above. What differs: triggers run for each row, and the checksum of a day is
-- the exclusive or of its hashes, since SQLite's integers have 64 bits. (a | b) - (a & b) is that exclusive or.
create table object_days (
    bucket text not null,
    day date not null,
    objects bigint not null,
    checksum numeric not null,
    newest_at timestamptz not null default now(),
    primary key (bucket, day)
);

create trigger objects_added after insert on objects begin
    insert into object_days (bucket, day, objects, checksum)
    values (new.bucket, new.day, 1, object_checksum(new.key, new.version_id))
    on conflict (bucket, day) do update set
        objects = objects + 1,
        checksum = (checksum | excluded.checksum) - (checksum & excluded.checksum),
        newest_at = excluded.newest_at;
end;

create trigger objects_deleted after delete on objects begin
    update object_days set
        objects = objects - 1,
        checksum = (checksum | object_checksum(old.key, old.version_id))
            - (checksum & object_checksum(old.key, old.version_id))
    where bucket = old.bucket and day = old.day;
end;

create table queue_rejects (
    queue text not null,
    message_id text not null,
    reason text not null,
    body text not null,
    received_at timestamptz not null default now(),
    primary key (queue, message_id)
);

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

create table reconciled (
    reconciliation_id bigint not null,
    key text not null,
    version_id text not null,
    primary key (reconciliation_id, key, version_id)
);
