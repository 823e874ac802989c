-- What a day of an asset needs and could not get from its store: an object version, or a content by its sha256. It is tried
-- again, at growing distances, by `read_at` at the latest; a hint (another place of the same content) counts as one more try.
create table unread (
    asset text not null,
    day date not null,
    item text not null,
    reason text not null,
    since timestamptz not null,
    read_at timestamptz,
    hints bigint not null default 0,
    primary key (asset, day, item)
);
create index unread_items on unread (item);
