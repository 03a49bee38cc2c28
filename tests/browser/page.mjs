#!/usr/bin/env node
// The status page in a real browser: the agent runs against the embedded stream in four states (quiet, busy, throttled, blocked), and its page is looked
// at in light and dark, narrow and wide, with JavaScript and without. Judged are what the browser complains of, what sticks out, contrast and names
// (axe-core), and whether the numbers are those of /metrics. Screenshots are left in the work folder for people to look at.
//
//   node tests/browser/page.mjs --binary target/debug/kinetail --npm FOLDER --work FOLDER [--seconds N] [--chromium PATH]
//
// FOLDER of --npm has node_modules with puppeteer-core and axe-core; --seconds is how long each state is watched before it is looked at.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    binary: { type: 'string', default: 'target/debug/kinetail' },
    npm: { type: 'string' },
    work: { type: 'string' },
    seconds: { type: 'string', default: '30' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
  },
});
const require = createRequire(path.join(path.resolve(options.npm), 'index.js'));
const puppeteer = require('puppeteer-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const BINARY = path.resolve(options.binary);
const WORK = path.resolve(options.work);
const DEADLINE = 60_000;
const WIDTHS = [390, 1400];
const ENVIRONMENT = {
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  AWS_ACCESS_KEY_ID: 'any',
  AWS_SECRET_ACCESS_KEY: 'any',
  AWS_EC2_METADATA_DISABLED: 'true',
};
// What a service might write that a page must not believe.
const HOSTILE = `<img src=x onerror="document.title='owned'">"'&`;

const children = new Set();

function start(name, args) {
  const log = fs.openSync(path.join(WORK, `${name}.log`), 'w');
  const child = spawn(BINARY, args, { env: ENVIRONMENT, stdio: ['ignore', log, log] });
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

async function stop(child, signal = 'SIGTERM') {
  if (!children.has(child)) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}

process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function until(what, look) {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const seen = await look().catch(() => undefined);
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(100);
  }
}

/** A log that is written to at a rate, until it is closed. */
class Writer {
  constructor(file, line, linesPerSecond) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    this.fd = fs.openSync(file, 'a');
    this.lines = 0;
    const began = Date.now();
    const write = () => {
      const due = Math.floor(((Date.now() - began) / 1000) * linesPerSecond);
      let text = '';
      for (; this.lines < due; this.lines += 1) text += `${line(this.lines)}\n`;
      if (text) fs.writeSync(this.fd, text);
    };
    this.timer = linesPerSecond > 0 ? setInterval(write, 100) : undefined;
  }

  close() {
    clearInterval(this.timer);
    fs.closeSync(this.fd);
  }
}

const json = (n) =>
  JSON.stringify({
    time: new Date().toISOString(),
    level: n % 50 ? 'info' : 'warn',
    user: n % 3 ? `user-${n % 400}` : HOSTILE,
    message: `request ${n} answered in ${n % 700} ms`,
    path: `/api/v1/orders/${n}`,
  });
const access = (n) => `10.0.${n % 200}.7 - - [02/Jan/2026:03:04:05 +0000] "GET /static/app-${n}.js HTTP/1.1" 200 ${n % 9000} "-" "Mozilla/5.0"`;

/** The states: what is written, what goes wrong and what the page has to say. */
const STATES = {
  quiet: {
    shards: 1,
    sources: () => [{ name: 'app', lines: json, rate: 0, first: 20, parse: 'json' }],
    verdict: ['good', /^idle/i],
  },
  busy: {
    shards: 4,
    partitionKey: '{user}',
    sources: () => [
      { name: 'app', lines: json, rate: 1500, parse: 'json' },
      { name: 'nginx', lines: access, rate: 300, parse: 'raw' },
      { name: 'audit-log-of-the-payment-service-in-production', lines: json, rate: 2, parse: 'json' },
      { name: 'never', rate: 0 },
    ],
    verdict: ['good', /Delivering [\d\u202f.]+ events a second/],
    also: /Source never has no files/,
  },
  throttled: {
    shards: 3,
    partitionKey: '{user}',
    faults: { shard_bytes_per_s: 60_000 },
    sources: () => [{ name: 'app', lines: json, rate: 1800, parse: 'json' }],
    // How far behind it is by then depends on the machine.
    verdict: ['warn', 'bad', /no room for [\d.]+ % of what is sent|reached the limit that was learnt/],
  },
  blocked: {
    shards: 2,
    sources: () => [
      { name: 'app', lines: json, rate: 200, parse: 'json' },
      { name: 'nginx', lines: access, rate: 50, parse: 'raw' },
    ],
    later: { fail_requests: 1, fail_requests_code: 'AccessDeniedException', operations: ['PutRecords'] },
    verdict: ['bad', /Nothing is delivered to logs since .*AccessDeniedException/],
    also: /kinesis:PutRecords/,
  },
};

/** The agent in one of the states. */
class Run {
  constructor(name) {
    Object.assign(this, STATES[name], { name, writers: [] });
  }

  async begin() {
    const folder = path.join(WORK, this.name);
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true });
    const [kinesis, admin] = [await freePort(), await freePort()];
    [this.kinesis, this.admin] = [`http://127.0.0.1:${kinesis}`, `http://127.0.0.1:${admin}`];
    this.stand = start(`${this.name}-local`, ['local', '--listen', `127.0.0.1:${kinesis}`, '--stream', `logs:${this.shards}`]);
    await until('the stream', async () => (await fetch(`${this.kinesis}/_kinetail/stats`)).ok);
    await this.fault(this.faults ?? {});
    const sources = this.sources().map((source) => ({ ...source, folder: path.join(folder, 'logs', source.name) }));
    const config = {
      state_dir: path.join(folder, 'state'),
      admin: { listen: `127.0.0.1:${admin}` },
      kinesis: {
        stream: 'logs',
        region: 'us-east-1',
        endpoint: this.kinesis,
        partition_key: this.partitionKey ?? 'random',
        assume_role: undefined,
      },
      sources: sources.map(({ name, folder, parse }) => ({ name, paths: [`${folder}/*.log`], parse: parse ?? 'raw', add: { fields: { env: HOSTILE } } })),
    };
    const file = path.join(folder, 'kinetail.json');
    fs.writeFileSync(file, JSON.stringify(config));
    this.agent = start(this.name, ['run', '--config', file]);
    for (const { folder, lines, rate, first } of sources) {
      if (!lines) continue;
      this.writers.push(new Writer(path.join(folder, 'a.log'), lines, rate));
      if (first) fs.writeSync(this.writers.at(-1).fd, Array.from({ length: first }, (_, n) => `${lines(n)}\n`).join(''));
    }
    // A name that is no problem for a file system, and a file that nobody may read, where that can be.
    fs.mkdirSync(path.join(folder, 'logs', 'app'), { recursive: true });
    fs.mkdirSync(path.join(folder, 'logs', 'app', 'a <b>directory</b>.log'), { recursive: true });
    await until('the admin server', async () => (await fetch(`${this.admin}/livez`)).ok);
    await until('the start', async () => (await fetch(`${this.admin}/startupz`)).ok);
    if (this.later) {
      await until('deliveries', async () => (await this.metric('kinetail_kinesis_user_records_total')) > 0);
      await sleep((Number(options.seconds) * 1000) / 2);
      await this.fault(this.later);
    }
  }

  async fault(plan) {
    const answer = await fetch(`${this.kinesis}/_kinetail/faults`, { method: 'POST', body: JSON.stringify(plan) });
    assert.ok(answer.ok, await answer.text());
  }

  async metrics() {
    const text = await (await fetch(`${this.admin}/metrics`)).text();
    const samples = text.split('\n').filter((line) => line && !line.startsWith('#'));
    return samples.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    });
  }

  async metric(name, label = '') {
    const all = await this.metrics();
    const is = (series) => (series === name || series.startsWith(`${name}{`)) && series.includes(label);
    return all.filter(([series]) => is(series)).reduce((sum, [, value]) => sum + value, 0);
  }

  async end() {
    this.writers.forEach((writer) => writer.close());
    await stop(this.agent, 'SIGKILL');
    await stop(this.stand);
  }
}

/** What the page says, as a reader sees it. */
const readPage = () => {
  const number = (text) => Number(text.replace(/[^\d]/g, ''));
  const rows = [...document.querySelectorAll('section[aria-labelledby=ledger] tbody tr')];
  const ledger = Object.fromEntries(rows.map((row) => [row.cells[0].textContent.trim(), number(row.cells[1].textContent)]));
  ledger.all = number(document.querySelector('section[aria-labelledby=ledger] thead th.n').textContent);
  const shards = [...document.querySelectorAll('section[aria-labelledby=streams] tbody tr')];
  const records = Object.fromEntries(
    shards.map((row) => [row.querySelector('th').textContent.trim(), number(row.querySelector('[data-label=Records]').lastChild.textContent)]),
  );
  const verdict = document.querySelector('.verdict');
  return {
    ledger,
    records,
    tone: verdict.className.split(' ')[1],
    sentence: verdict.querySelector('h2').textContent,
    also: verdict.textContent,
    charts: document.querySelectorAll('svg.chart').length,
    headings: [...document.querySelectorAll('h2')].map((h) => h.textContent),
  };
};

/** What sticks out to the right. */
const overflow = () => {
  const width = document.documentElement.clientWidth;
  const out = [...document.body.querySelectorAll('*')].filter((e) => {
    const box = e.getBoundingClientRect();
    return box.width > 1 && box.right > width + 0.5;
  });
  return { scroll: document.documentElement.scrollWidth - width, out: out.slice(0, 5).map((e) => `${e.tagName}.${e.className?.baseVal ?? e.className}: ${e.textContent.slice(0, 60)}`) };
};

function listen(page, complaints) {
  page.on('console', (message) => ['error', 'warn'].includes(message.type()) && complaints.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('requestfailed', (request) => complaints.push(`failed: ${request.url()}`));
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith('http://127.0.0.1:') && !url.startsWith('data:image/svg')) complaints.push(`asked elsewhere: ${url}`);
  });
}

async function looks(browser, run) {
  const complaints = [];
  for (const scheme of ['light', 'dark']) {
    for (const width of WIDTHS) {
      const page = await browser.newPage();
      listen(page, complaints);
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
      await page.setViewport({ width, height: 900, deviceScaleFactor: 1, isMobile: width < 600 });
      await page.goto(run.admin, { waitUntil: 'load' });
      const sticks = await page.evaluate(overflow);
      if (sticks.scroll > 0 || sticks.out.length) complaints.push(`${scheme} ${width}: sticks out by ${sticks.scroll}: ${sticks.out.join(' | ')}`);
      await page.evaluate(`${axe}; undefined`);
      const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
      for (const violation of violations) {
        complaints.push(`${scheme} ${width}: ${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(' | ')}`);
      }
      await page.screenshot({ path: path.join(WORK, `${run.name}-${scheme}-${width}.png`), fullPage: true });
      await page.close();
    }
  }
  return complaints;
}

async function says(browser, run) {
  const complaints = [];
  const page = await browser.newPage();
  listen(page, complaints);
  const before = await run.metrics();
  await page.goto(run.admin, { waitUntil: 'load' });
  const seen = await page.evaluate(readPage);
  const after = await run.metrics();
  const sum = (metrics, name, label = '') => metrics.filter(([s]) => (s === name || s.startsWith(`${name}{`)) && s.includes(label)).reduce((a, [, v]) => a + v, 0);
  const between = (what, value, name, label) => {
    const [low, high] = [sum(before, name, label), sum(after, name, label)];
    assert.ok(low <= value && value <= high, `${what}: ${value} on the page, ${low} to ${high} in /metrics`);
  };
  between('events', seen.ledger.all, 'kinetail_events_total');
  between('delivered', seen.ledger.delivered, 'kinetail_kinesis_user_records_total');
  const dropped = Object.entries(seen.ledger).filter(([name]) => name.startsWith('dropped')).reduce((a, [, v]) => a + v, 0);
  assert.equal(seen.ledger.all, seen.ledger.delivered + dropped + seen.ledger['in flight'], `the ledger adds up: ${JSON.stringify(seen.ledger)}`);
  for (const [shard, records] of Object.entries(seen.records)) between(shard, records, 'kinetail_kinesis_shard_records_total', `shard="${shard}"`);
  const [sentence, ...tones] = run.verdict.toReversed();
  assert.ok(tones.includes(seen.tone), `${seen.tone}: ${seen.sentence}`);
  assert.match(seen.sentence, sentence);
  if (run.also) assert.match(seen.also, run.also);
  assert.ok(!(await page.title()).includes('owned') && !(await page.$('img, b b')), 'what a service wrote is text');

  // Fresh without a reload ...
  const facts = () => page.$eval('#facts', (e) => e.textContent);
  const first = await facts();
  await page.evaluate(() => (window.marked = true));
  await until('a refresh', async () => (await facts()) !== first);
  assert.ok(await page.evaluate(() => window.marked), 'the page was not loaded anew');
  await page.close();

  // ... and complete without JavaScript.
  const still = await browser.newPage();
  listen(still, complaints);
  await still.setJavaScriptEnabled(false);
  await still.goto(run.admin, { waitUntil: 'load' });
  const quiet = await still.evaluate(readPage);
  assert.deepEqual(quiet.headings.slice(1), seen.headings.slice(1));
  assert.ok(tones.includes(quiet.tone), quiet.tone);
  assert.ok(quiet.charts >= 8 && !(await still.$('#refresh:not([hidden])')));
  await still.close();
  return complaints;
}

async function answers(run) {
  for (const [at, type] of [['/', 'text/html'], ['/status', 'application/json'], ['/metrics', 'text/plain'], ['/livez', 'text/plain'], ['/nothing', 'text/plain']]) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await fetch(run.admin + at, { method });
      const head = Object.fromEntries(answer.headers);
      assert.equal(answer.status, at === '/nothing' ? 404 : 200, at);
      assert.ok(head['content-type'].startsWith(type), head['content-type']);
      assert.equal(head['cache-control'], 'no-store');
      assert.equal(head['x-content-type-options'], 'nosniff');
      assert.match(head['content-security-policy'], /default-src 'none'.*frame-ancestors 'none'/);
      assert.ok(!head['content-security-policy'].includes('unsafe'));
      assert.equal((await answer.text()).length > 0, method === 'GET', `${method} ${at}`);
    }
  }
  const status = await (await fetch(`${run.admin}/status?history`)).json();
  assert.ok(status.history.delivered_events_per_second.length > 1 && status.configuration.includes('state_dir'));
}

async function stale(browser, run) {
  const page = await browser.newPage();
  await page.goto(run.admin, { waitUntil: 'load' });
  await run.end();
  await until('the page to say so', async () => (await page.$('body.stale')) && (await page.$eval('#said', (e) => e.textContent)));
  await page.close();
}

fs.mkdirSync(WORK, { recursive: true });
const browser = await puppeteer.launch({
  executablePath: options.chromium,
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage', '--hide-scrollbars'],
});
let failed = 0;
const runs = Object.keys(STATES).map((name) => new Run(name));
try {
  await Promise.all(runs.map((run) => run.begin()));
  await sleep(Number(options.seconds) * 1000);
  for (const run of runs) {
    const complaints = [];
    const part = async (what, check) => {
      try {
        complaints.push(...((await check()) ?? []));
      } catch (error) {
        complaints.push(`${what}: ${error.message}`);
      }
    };
    await part('says', () => says(browser, run));
    await part('looks', () => looks(browser, run));
    await part('answers', () => answers(run));
    if (run.name === 'quiet') await part('stale', () => stale(browser, run));
    const all = [...new Set(complaints)];
    console.log(`${all.length ? 'FAIL' : 'ok  '} status page: ${run.name}`);
    all.forEach((complaint) => console.log(`     ${complaint}`));
    failed += all.length > 0;
  }
} catch (error) {
  console.log(`FAIL ${error.stack}`);
  failed += 1;
} finally {
  await Promise.all(runs.map((run) => run.end().catch(() => {})));
  await browser.close();
}
console.log(`${runs.length - Math.min(failed, runs.length)} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
