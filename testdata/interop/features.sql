-- Features per author from a week of outputs, as models of ad targeting take them. For DuckDB, in the folder that holds week:
--
--     logobeam score posts/2026-11-26.csv --keep author,time --out week/night=2026-11-26     (every night)
--     duckdb features.duckdb < features.sql

-- A post that was scored in several nights counts as the last of them has it. Times in RFC 3339, all of one zone, sort as text.
CREATE OR REPLACE VIEW posts AS
SELECT post_id, author, "time", brand, probability
FROM read_parquet('week/*/scores/*.parquet', hive_partitioning = true)
WHERE author IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY post_id ORDER BY night DESC) = 1;

-- Of each author and brand how many posts, and how many to be expected by their probabilities.
CREATE OR REPLACE TABLE author_brands AS
SELECT author, brand, count(*) AS posts, sum(probability::DOUBLE) AS weight, max("time") AS last_seen
FROM posts
WHERE brand <> 'no-logo'
GROUP BY author, brand
ORDER BY author, brand;

CREATE OR REPLACE TABLE author_features AS
SELECT author,
       count(*) AS posts,
       avg((brand <> 'no-logo')::INTEGER) AS logo_share,
       count(DISTINCT brand) FILTER (brand <> 'no-logo') AS brands,
       max("time") AS last_seen
FROM posts
GROUP BY author
ORDER BY author;
