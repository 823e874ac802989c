-- One row a photo of the days $1 to $2, as the application's database knows it now.
select
    p.day,
    p.photo_id,
    p.user_id,
    p.key,
    p.posted_at,
    p.title,
    p.location,
    case when jsonb_typeof(p.details -> 'followers') = 'number'
        then trunc((p.details ->> 'followers')::numeric)::bigint end as followers_at_post,
    u.joined_at as user_joined_at,
    -- keys that begin with an underscore are the application's own and stay in the database
    (
        select coalesce(jsonb_object_agg(detail.key, detail.value), '{}')
        from jsonb_each(p.details - 'followers') as detail
        where left(detail.key, 1) <> '_'
    )::text as details_json
from photos p
join users u using (user_id)
where p.day between $1 and $2
order by p.day, p.photo_id
