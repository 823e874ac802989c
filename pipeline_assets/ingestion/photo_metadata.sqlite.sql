-- The same as photo_metadata.sql, for SQLite.
select
    p.day,
    p.photo_id,
    p.user_id,
    p.key,
    p.posted_at,
    p.title,
    p.location,
    case when json_type(p.details, '$.followers') in ('integer', 'real')
        then cast(json_extract(p.details, '$.followers') as integer) end as "followers_at_post [bigint]",
    u.joined_at as user_joined_at,
    -- keys that begin with an underscore are the application's own and stay in the database
    (
        select json_group_object(detail.key, json(case
            when detail.type = 'text' then json_quote(detail.value)
            when detail.type in ('true', 'false', 'null') then detail.type
            else detail.value end))
        from json_each(p.details) as detail
        where substr(detail.key, 1, 1) <> '_' and detail.key <> 'followers'
    ) as "details_json [text]"
from photos p
join users u using (user_id)
where p.day between $1 and $2
order by p.day, p.photo_id
