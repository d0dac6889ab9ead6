-- What a host's shows add up to: the figures of the session slice that profiles may read. Read by user.
create view host_record as
select
    host_id as user_id,
    cast(count(*) as bigint) as show_count,
    cast(coalesce(sum(coalesce(ended_at, started_at) - started_at), 0) as bigint) as streamed_micros,
    cast(coalesce(sum(total_viewers), 0) as bigint) as viewers,
    cast(coalesce(max(peak_viewers), 0) as bigint) as peak_viewers,
    max(case when state in ('live', 'interrupted') and not is_private then session_id end) as current_session_id,
    (
        select category from session as liked
        where liked.host_id = session.host_id and liked.category is not null
        group by liked.category
        order by count(*) desc, liked.category
        limit 1
    ) as favorite_category
from session
where started_at is not null
group by host_id;
