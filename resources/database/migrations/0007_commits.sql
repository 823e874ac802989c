-- What the commit is called that made a day's rows: a table that was restored gives the same version number twice.
alter table materializations add column commit_id text;
-- Who may replace a day of a table: the run that began to last. What began before it commits and records nothing of it.
create table day_writers (
    asset text not null,
    day date not null,
    token text not null,
    primary key (asset, day)
);
