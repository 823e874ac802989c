with credible as (
    select event_id, user_id, photo_id, kind, epoch_us("at") as at_us, epoch_us(arrived_at) as arrived_us,
        greatest(at_us, arrived_us) as known_us
    from event_log where epoch_us("at") <= epoch_us(arrived_at) + 86_400_000_000
),
repeated as (
    select hash(event_id) as id_hash from credible group by id_hash having count(*) > 1
),
events as materialized (
    select user_id, photo_id, kind, at_us, arrived_us, known_us from credible anti join repeated on hash(event_id) = id_hash
    union all
    select unnest(first) from (
        select arg_min(struct_pack(user_id, photo_id, kind, at_us, arrived_us, known_us), (known_us, arrived_us)) as first
        from credible semi join repeated on hash(event_id) = id_hash group by event_id)
),
photos as materialized (
    select photo_id, user_id, epoch_us(posted_at) as posted_us from photo_metadata
),
own as (
    select p.photo_id,
        count(*) filter (e.kind = 'login' and e.at_us >= p.posted_us - 86_400_000_000)::int as logins_1d,
        count(*) filter (e.kind = 'login' and e.at_us >= p.posted_us - 7 * 86_400_000_000)::int as logins_7d,
        count(*) filter (e.kind = 'login')::int as logins_30d,
        count(*) filter (e.kind = 'post')::int as posts_30d,
        count(*) filter (e.kind = 'like')::int as likes_given_30d
    from photos p join events e on e.user_id = p.user_id
        and e.known_us < p.posted_us and e.at_us >= p.posted_us - 30 * 86_400_000_000
    where e.kind in ('login', 'post', 'like')
    group by p.photo_id
),
likes as (
    select liked.user_id, liked.posted_us, e.at_us, greatest(e.known_us, liked.posted_us) as known_us
    from events e join photos liked using (photo_id)
    where e.kind = 'like' and e.user_id <> liked.user_id
),
received as (
    select p.photo_id, count(*)::int as likes_received_30d
    from photos p join likes l on l.user_id = p.user_id
        and l.known_us < p.posted_us and l.at_us >= p.posted_us - 30 * 86_400_000_000
        and l.posted_us >= p.posted_us - 37 * 86_400_000_000
    group by p.photo_id
),
views as materialized (
    select p.photo_id,
        count(*) filter (e.arrived_us < least(epoch_us(getvariable('observed_until')), p.posted_us + 8 * 86_400_000_000)) as observed,
        count(*) filter (e.arrived_us < p.posted_us + 7 * 86_400_000_000) as at_maturity
    from photos p join events e using (photo_id)
    where e.kind = 'view' and e.at_us >= p.posted_us and e.at_us < p.posted_us + 7 * 86_400_000_000
    group by p.photo_id
),
matured as (
    select p.user_id, p.posted_us + 7 * 86_400_000_000 as mature_us, log2(coalesce(v.at_maturity, 0) / 7 + 1) as popularity
    from photos p left join views v using (photo_id)
),
popular as (
    select p.photo_id, avg(m.popularity)::float as mean_popularity_30d
    from photos p join matured m on m.user_id = p.user_id
        and m.mature_us < p.posted_us and m.mature_us >= p.posted_us - 30 * 86_400_000_000
    group by p.photo_id
),
uploads as (
    select key, arg_max(struct_pack(day, sha256), (uploaded_at, version_id)) as content
    from raw_uploads where verdict = 'ok' group by key
)
select p.day, p.photo_id, p.user_id, c.sha256, p.posted_at,
    hour(p.posted_at)::tinyint as posted_hour, isodow(p.posted_at)::tinyint as posted_weekday,
    length(p.title)::int as title_length, coalesce(trim(p.location), '') <> '' as has_location, p.followers_at_post,
    ((epoch_us(p.posted_at) - epoch_us(p.user_joined_at)) // 86_400_000_000)::int as days_since_joining,
    coalesce(logins_1d, 0) as logins_1d, coalesce(logins_7d, 0) as logins_7d, coalesce(logins_30d, 0) as logins_30d,
    coalesce(posts_30d, 0) as posts_30d, coalesce(likes_given_30d, 0) as likes_given_30d,
    coalesce(likes_received_30d, 0) as likes_received_30d, mean_popularity_30d,
    c.model_id, c.top5_label[1] as top_class, c.top5_probability[1] as top_probability, c.embedding,
    s.brightness, s.contrast, s.saturation, s.colourfulness, s.sharpness, s.aspect,
    case when epoch_us(p.posted_at) + 7 * 86_400_000_000 <= epoch_us(getvariable('observed_until')) then coalesce(v.observed, 0) end as views_7d,
    log2(views_7d / 7 + 1)::float as popularity
from photo_metadata p
    join uploads u using (key)
    join photo_classes c on c.day = u.content.day and c.sha256 = u.content.sha256
    join photo_styles s on s.day = c.day and s.sha256 = c.sha256
    left join own using (photo_id) left join received using (photo_id) left join popular using (photo_id)
    left join views v using (photo_id)
order by p.day, p.photo_id
