-- Questions that were asked, and the answers that arrived. Answers are only ever added: an edit is another revision.
create table label_campaigns (
    campaign text not null,
    version integer not null,
    question_digest text not null,
    definition text not null,
    recorded_at timestamptz not null default now(),
    primary key (campaign, version)
);

create table label_requests (
    tool text not null,
    task_key text not null,
    tool_task_id text,
    campaign text not null,
    version integer not null,
    day date not null,
    key text not null,
    target text not null,
    sha256 text not null,
    requested_at timestamptz not null default now(),
    primary key (tool, task_key)
);
create index label_requests_by_task on label_requests (task_key, requested_at, tool);
create index label_requests_by_day on label_requests (day);
create index label_requests_by_campaign on label_requests (campaign, version, tool);

-- The only place that tells who a pseudonym is.
create table label_annotators (
    source text not null,
    external_id text not null,
    pseudonym text not null,
    primary key (source, external_id),
    unique (pseudonym)
);

create table label_answers (
    source text not null,
    source_id text not null,
    revision bigint not null,
    task_key text not null,
    day date not null,
    annotator text not null,
    answered_at timestamptz not null,
    arrived_at timestamptz not null default now(),
    lead_time_s double precision,
    answer_json text,
    is_cancelled boolean not null,
    is_deleted boolean not null,
    extra_json text,
    primary key (source, source_id, revision)
);
create index label_answers_by_day on label_answers (day);
create index label_answers_by_task on label_answers (task_key);
