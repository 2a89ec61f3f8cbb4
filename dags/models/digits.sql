-- The pixels as they are: one row in, one row out.
SELECT * FROM source
