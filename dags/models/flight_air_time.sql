-- What is known about a flight when it pushes back from the gate. One row in, one row out.
SELECT
    s.time_hour,
    s.carrier,
    s.flight,
    s.air_time,
    s.distance,
    s.dep_delay,
    s.origin,
    s.dest,
    -- Features of the calendar follow New York's clock; time_hour is UTC.
    s.sched_dep_time DIV 100 + (s.sched_dep_time % 100) / 60.0 AS local_departure,
    2013 - p.year AS plane_age,
    p.seats
FROM source AS s
LEFT JOIN planes AS p ON p.tailnum = s.tailnum
