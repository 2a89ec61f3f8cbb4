SELECT
    o.order_id,
    o.ordered_at,
    o.late,
    o.price,
    o.country,
    datediff(o.delivered_at, o.ordered_at) AS distance,
    o.late = 'yes' AS was_late
FROM source AS o
LEFT JOIN shops AS s ON s.shop = o.shop
