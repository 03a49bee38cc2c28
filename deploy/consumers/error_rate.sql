-- Flink SQL: the share of errors in the logs of each minute, while they come in.
--
-- It needs flink-sql-connector-kinesis 5.x, and its source `kinesis-legacy`: that one takes KPL aggregates apart and has the time of arrival. The
-- newer source `kinesis` (5.x) does neither: with it, kinetail has to send `format: lines`, which makes a record of many lines, or `single`.
-- The events' field `level` is that of the services; a line without one counts as no error.

CREATE TABLE logs (
  `level` STRING,
  `message` STRING,
  `arrival` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR `arrival` AS `arrival` - INTERVAL '10' SECOND
) WITH (
  'connector' = 'kinesis-legacy',
  'stream' = 'service-logs',
  'aws.region' = 'eu-west-1',
  'scan.stream.initpos' = 'LATEST',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true'
);

CREATE TABLE error_rate (
  `minute` TIMESTAMP(3),
  `events` BIGINT,
  `errors` BIGINT,
  `share` DOUBLE
) WITH (
  'connector' = 'print'
);

INSERT INTO error_rate
SELECT
  CAST(window_start AS TIMESTAMP(3)),
  COUNT(*),
  COUNT(*) FILTER (WHERE LOWER(`level`) IN ('error', 'fatal', 'critical')),
  CAST(COUNT(*) FILTER (WHERE LOWER(`level`) IN ('error', 'fatal', 'critical')) AS DOUBLE) / COUNT(*)
FROM TABLE(TUMBLE(TABLE logs, DESCRIPTOR(`arrival`), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
