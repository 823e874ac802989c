-- What people or tools have marked in an upload or in a photo's title: the application's own, like users and photos.
create table annotations (
    key text not null,
    target text not null default 'upload' check (target in ('upload', 'title')),
    day date not null,
    labels jsonb not null,
    annotator text,
    annotated_at timestamptz not null default now(),
    primary key (key, target)
);
create index annotations_by_day on annotations (day);
