SELECT o.order_id, o.ordered_at, o.late, o.price, o.country, w.distance
FROM source AS o
LEFT JOIN shop AS s ON s.shop = o.shop
LEFT JOIN weather AS w ON w.day = o.day
