-- One row a photo of the days $1 to $2, as the application's database knows it now: whole numbers and texts alone, which are
-- the same in every session (time zone, DateStyle). No row is left out here: photo_rows.py judges them, and a day has
-- changed if these have. A time is in microseconds since 1970, null if there is none or its year is none of 1 to 9999; a
-- day in days. Of a text so much is read as is kept, and one character more. A photo without a day belongs to the day of its posting.
with wanted as (
    select p.*, case when isfinite(p.day) then p.day else (p.posted_at at time zone 'UTC')::date end as own_day
    from photos p
    where p.day between $1 and $2
        or (p.day is null or p.day in ('infinity', '-infinity'))
            and (p.posted_at at time zone 'UTC')::date between $1 and $2
),
owners as (
    select
        user_id,
        -- what two rows of one user agree in, they say together; null is no time that a row says
        case when count(joined_at) = count(*) then min(joined_at) end as joined_at,
        case when count(joined_at) = count(*) then max(joined_at) end as joined_last
    from users where user_id in (select user_id from wanted)
    group by user_id
),
again as (
    select photo_id, count(*) as photos
    from photos where photo_id in (select photo_id from wanted)
    group by photo_id having count(*) > 1
)
select
    w.own_day - date '1970-01-01' as day,
    coalesce(isfinite(w.day), false)::integer as has_day,
    w.photo_id,
    coalesce(a.photos, 1) as photos_of_id,
    w.user_id,
    (o.user_id is not null)::integer as has_user,
    left(w.key, 65537) as key,
    case when w.posted_at between '0001-01-01 00:00Z' and '9999-12-31 00:00Z'
        then (extract(epoch from w.posted_at) * 1000000)::bigint end as posted_us,
    left(w.title, 65537) as title,
    left(w.location, 65537) as location,
    case when jsonb_typeof(w.details -> 'followers') = 'number'
        then left(trunc((w.details ->> 'followers')::numeric)::text, 40) end as followers,
    case when o.joined_at between '0001-01-01 00:00Z' and '9999-12-31 00:00Z'
        then (extract(epoch from o.joined_at) * 1000000)::bigint end as joined_us,
    case when o.joined_last between '0001-01-01 00:00Z' and '9999-12-31 00:00Z'
        then (extract(epoch from o.joined_last) * 1000000)::bigint end as joined_last_us,
    coalesce(jsonb_typeof(w.details), 'object') as details_kind,
    -- keys that begin with an underscore are the application's own and stay in the database
    case
        when w.details is null then '{}'
        when jsonb_typeof(w.details) = 'object' then left((
            w.details - 'followers' - array(select name from jsonb_object_keys(w.details) name where left(name, 1) = '_')
        )::text, 1048577)
    end as details_json
from wanted w
left join owners o on o.user_id = w.user_id
left join again a on a.photo_id = w.photo_id
