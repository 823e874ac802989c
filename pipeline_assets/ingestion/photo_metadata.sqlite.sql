-- The same as photo_metadata.sql, for SQLite, in which a column may hold a value of any type: one of another is null.
-- With `+0 days` a date that no calendar has, as 2026-02-30, is another one and not itself.
with wanted as (
    select p.*, case when date(p.day, '+0 days') = p.day then p.day else date(p.posted_at, '+0 days') end as own_day
    from photos p
    where (p.day between $1 and $2 and date(p.day, '+0 days') is p.day)
        or (p.day is null or date(p.day, '+0 days') is not p.day) and date(p.posted_at, '+0 days') between $1 and $2
),
owners as (
    select
        user_id,
        case when count(microseconds(cast(joined_at as blob))) = count(*) then min(microseconds(cast(joined_at as blob))) end as joined_us,
        case when count(microseconds(cast(joined_at as blob))) = count(*) then max(microseconds(cast(joined_at as blob))) end as joined_last_us
    from users where user_id in (select user_id from wanted)
    group by user_id
),
again as (
    select photo_id, count(*) as photos
    from photos where photo_id in (select photo_id from wanted)
    group by photo_id having count(*) > 1
),
judged as (
    select *, coalesce(typeof(details) = 'text' and json_valid(details), 0) as is_json from wanted
)
select
    cast(julianday(w.own_day) - julianday('1970-01-01') as integer) as day,
    w.day is not null and w.day = w.own_day as has_day,
    case when typeof(w.photo_id) = 'integer' then w.photo_id end as photo_id,
    coalesce(a.photos, 1) as photos_of_id,
    case when typeof(w.user_id) = 'integer' then w.user_id end as user_id,
    o.user_id is not null as has_user,
    case when typeof(w.key) = 'text' then w.key end as key,
    microseconds(cast(w.posted_at as blob)) as posted_us,
    case when typeof(w.title) = 'text' then w.title end as title,
    case when typeof(w.location) in ('text', 'null') then w.location else char(0) end as location,
    case when w.is_json and json_type(w.details, '$.followers') in ('integer', 'real') then
        case when abs(json_extract(w.details, '$.followers')) < 9.2e18
            then cast(cast(json_extract(w.details, '$.followers') as integer) as text)
            else 'out of range' end
    end as followers,
    o.joined_us,
    o.joined_last_us,
    case when w.details is null then 'object' when w.is_json then json_type(w.details) else 'no JSON' end as details_kind,
    case when w.details is null then '{}' when w.is_json then public_json(cast(w.details as blob), 'followers') end as details_json
from judged w
left join owners o on o.user_id = w.user_id
left join again a on a.photo_id = w.photo_id
