SELECT o.order_id, o.ordered_at, o.late, o.price, o.country, s.distance
FROM source AS o
LEFT JOIN shops AS s ON s.shop = o.shop
