// Sends numbered events by the client for Node that Fluent itself keeps, and prints which of them it was told are taken.
//
//   forward.mjs NPM MODE ACK COUNT ADDRESS      ADDRESS is a path or host:port; ACK is yes or no
import { createRequire } from "node:module";

const [npm, mode, ack, count, address] = process.argv.slice(2);
const { FluentClient } = createRequire(`${npm}/`)("@fluent-org/logger");
const [host, port] = address.split(":");
const socket = address.startsWith("/") ? { path: address } : { host, port: Number(port) };
const client = new FluentClient("app", {
  eventMode: mode,
  socket: { ...socket, reconnect: { backoff: 1.5, delay: 50, maxDelay: 500 }, timeout: 60000 },
  ...(ack === "yes" ? { ack: { ackTimeout: 3000 } } : {}),
  // What was not acknowledged is sent again, by the client itself.
  eventRetry: { attempts: 100, backoff: 1.2, delay: 100, minDelay: 100, maxDelay: 1000 },
  sendQueueIntervalSize: mode === "Message" ? undefined : 200000,
  flushInterval: mode === "Message" ? 0 : 20,
});

let [taken, failed, open] = [0, [], 0];
for (let n = 0; n < Number(count); n++) {
  open++;
  client
    .emit("log", { n, log: `line ${n} ${"x".repeat(n % 90)}` })
    .then(() => taken++, () => failed.push(n))
    .finally(() => open--);
  // A service does other things as well; without a pause nothing would ever be sent.
  if (n % 50 === 49) await new Promise((go) => setTimeout(go, 1));
  while (open > 5000) await new Promise((go) => setTimeout(go, 5));
}
await client.flush?.();
const began = Date.now();
while (open > 0 && Date.now() - began < 60000) await new Promise((go) => setTimeout(go, 20));
process.stdout.write(JSON.stringify({ taken, failed, open }) + "\n");
process.exit(0);
