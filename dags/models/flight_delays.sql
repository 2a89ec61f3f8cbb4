-- What is known about a flight when it pushes back from the gate. One row in, at most one row out.
SELECT
    s.time_hour,
    s.carrier,
    s.flight,
    s.arr_delay,
    s.dep_delay,
    s.distance,
    s.origin,
    s.dest,
    -- Calendar features follow New York's clock; time_hour is UTC, and 11 % of the rows differ in date.
    s.sched_dep_time DIV 100 + (s.sched_dep_time % 100) / 60.0 AS local_departure,
    dayofweek(from_utc_timestamp(s.time_hour, 'America/New_York')) AS local_weekday,
    -- The newest observation at pushback is the one of the hour before.
    w.temp,
    w.wind_speed,
    w.precip,
    w.visib,
    w.pressure,
    2013 - p.year AS plane_age,
    p.seats
FROM source AS s
LEFT JOIN weather AS w ON w.origin = s.origin AND w.time_hour = s.time_hour - INTERVAL 1 HOUR
LEFT JOIN planes AS p ON p.tailnum = s.tailnum
