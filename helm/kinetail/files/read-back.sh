# Reads the embedded stream from its beginning until every line of the Job is there and some of the service's, or 120 s are over.
# ENDPOINT, SHARDS, JOB (empty without one) and LINES_OF_JOB say what is expected. For busybox' sh.
set -eu
found=$(mktemp -d)
call() {
  wget -q -O - --header "X-Amz-Target: Kinesis_20131202.$1" --header 'Content-Type: application/x-amz-json-1.1' \
    --header 'Authorization: AWS4-HMAC-SHA256 Credential=demo/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0' \
    --header 'X-Amz-Date: 20260101T000000Z' --post-data "$2" "$ENDPOINT/"
}
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }
# Aggregates hold their events as they are, between bytes that are no text.
events() { tr '{}' '\n\n' | sed -n 's/.*"Data": *"\([^"]*\)".*/\1/p' | while read -r data; do echo "$data" | base64 -d; done | tr -c ' -~' '\n'; }

shard=0
while [ "$shard" -lt "$SHARDS" ]; do
  call GetShardIterator "{\"StreamName\":\"demo\",\"ShardId\":\"shardId-00000000000$shard\",\"ShardIteratorType\":\"TRIM_HORIZON\"}" |
    field ShardIterator >"$found/iterator.$shard"
  shard=$((shard + 1))
done

left=120
while :; do
  for file in "$found"/iterator.*; do
    call GetRecords "{\"Limit\":1000,\"ShardIterator\":\"$(cat "$file")\"}" >"$found/answer"
    field NextShardIterator <"$found/answer" >"$file"
    events <"$found/answer" >"$found/events"
    sed -n "s/.*\"job\":$JOB,\"n\":\([0-9]*\).*/\1/p" "$found/events" >>"$found/job"
    grep -c 'request served' "$found/events" >>"$found/app" || true
  done
  job=$(sort -u "$found/job" | wc -l)
  app=$(awk '{ sum += $1 } END { print sum }' "$found/app")
  [ -n "$JOB" ] || job=$LINES_OF_JOB
  if [ "$job" -ge "$LINES_OF_JOB" ] && [ "$app" -gt 0 ]; then
    [ -z "$JOB" ] || echo "read back: all $LINES_OF_JOB lines of the Job"
    echo "read back: $app lines of the service, which goes on"
    exit 0
  fi
  left=$((left - 1))
  if [ "$left" -le 0 ]; then
    echo "only $job of $LINES_OF_JOB lines of the Job, and $app of the service" >&2
    exit 1
  fi
  sleep 1
done
