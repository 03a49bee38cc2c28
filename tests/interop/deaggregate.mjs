// De-aggregates Kinesis records with Amazon's library for Node, checksums on.
// stdin: one {"key","seq","data"(base64)} a line. stdout: for each, {"records":[{"key","hash_key","data"}],"error"}.
// Usage: node deaggregate.mjs FOLDER   (the one that holds node_modules)

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2]) + "/");
const { deaggregateSync } = require("aws-kinesis-agg");

for await (const line of createInterface({ input: process.stdin })) {
  const { key, seq, data } = JSON.parse(line);
  const out = { records: [], error: null };
  deaggregateSync({ partitionKey: key, sequenceNumber: seq, data }, true, (err, records) => {
    if (err) out.error = String(err.message ?? err);
    out.records = (records ?? []).map((r) => ({
      key: r.partitionKey ?? null,
      hash_key: r.explicitPartitionKey ?? null,
      data: r.data,
    }));
  });
  process.stdout.write(JSON.stringify(out) + "\n");
}
