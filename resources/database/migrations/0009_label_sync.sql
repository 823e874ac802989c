-- Projects of labeling tools, when tasks were last sent there, and how far answers were pulled. Texts are the tool's times.
create table label_projects (
    tool text not null,
    campaign text not null,
    version integer not null,
    project_id bigint not null,
    pulled_since text,
    pass_began text,
    pass_after bigint not null default 0,
    sent_at timestamptz,
    pulled_at timestamptz,
    primary key (tool, campaign, version)
);
