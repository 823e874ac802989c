-- What a code version was made of, {kind: {name: digest or value}}, so that a change can be named.
alter table materializations add column parts jsonb;
-- The earlier entry with which these rows came, where computing the day again gave the same rows.
alter table materializations add column since_id bigint;
-- How long the day took: its share of the run's step.
alter table materializations add column seconds double precision;
