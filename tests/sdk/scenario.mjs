// Runs scenario.json with the official Node SDK, unmodified: node scenario.mjs --base URL --app-id ID.
//
// What it says on stdout and is told on stdin is as in scenario.py, line by line.

import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';

// The SDK stands in the folder that this was started in, not beside this file.
const lark = createRequire(`${process.cwd()}/`)('@larksuiteoapi/node-sdk');

const TRIES_MAX = 600;
const PAUSE_MS = 100;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function say(word) {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

async function ask(word) {
  say(word);
  return JSON.parse((await lines.next()).value);
}

// What `step.path.to.value` names; behind a `#` a key of JSON in a string.
function found(answers, reference) {
  const [path, inner] = reference.split('#');
  const [step, ...parts] = path.split('.');
  let value = answers[step];
  for (const part of parts) value = value[part];
  if (value === undefined) throw new TypeError(`nothing at ${reference}`);
  return inner ? JSON.parse(value)[inner] : value;
}

// `file` makes what the SDK takes for a file.
function filled(answers, value, file = () => null) {
  if (typeof value === 'string' && value.startsWith('$')) return found(answers, value.slice(1));
  if (Array.isArray(value)) return value.map((each) => filled(answers, each, file));
  if (value === null || typeof value !== 'object') return value;
  if ('#json' in value) return JSON.stringify(filled(answers, value['#json'], file));
  if ('#bytes' in value) return file(value.name, Buffer.from(value['#bytes'], 'base64'));
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filled(answers, each, file)]));
}

// A file on the disk, as in the SDK's own examples.
const folder = mkdtempSync(join(tmpdir(), 'sdk-scenario-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
function onDisk(name, bytes) {
  writeFileSync(join(folder, name), bytes);
  return createReadStream(join(folder, name));
}

const camel = (text) => text.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

// The SDK's method of that name, or its way to call what it has no method for.
function call(client, spec, parts, headers) {
  const data = parts.body ?? parts.form;
  if (spec.raw) {
    const [method, url] = spec.raw.split(' ');
    return client.request({ method, url, data }, { headers });
  }
  const [service, version, resource, method] = spec.call.split('.').map(camel);
  return client[service][version][resource][method]({ path: parts.path, params: parts.query, data }, { headers });
}

async function bytesOf(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

function fileName(headers) {
  const starred = /filename\*=[^']*'[^']*'([^;]+)/i.exec(headers['content-disposition'] ?? '');
  const plain = /filename="?([^";]+)"?/i.exec(headers['content-disposition'] ?? '');
  const name = (starred ?? plain)?.[1];
  return name === undefined ? null : decodeURIComponent(name);
}

// What the step was answered, as it came.
async function told(step, { status, headers, data }) {
  const kind = headers['content-type'] ?? '';
  let body = data;
  if (typeof data?.pipe === 'function') {
    const bytes = await bytesOf(data);
    const digest = createHash('sha256').update(bytes).digest('hex');
    body = kind.startsWith('application/json')
      ? JSON.parse(bytes.toString())
      : { bytes: bytes.length, sha256: digest, type: kind, name: fileName(headers) };
  }
  return { step, http: status, state: headers['x-relay-state'] ?? null, body };
}

// Calls until there is an answer; broken ones are repeated only by the patient.
async function perform(client, answers, spec, patient, seen) {
  for (let attempt = 1; ; attempt += 1) {
    const parts = filled(answers, { path: spec.path, query: spec.query, body: spec.body, form: spec.form }, onDisk);
    const key = spec.body?.uuid ?? spec.query?.uuid ?? `sdk ${spec.step}`;
    const headers = patient ? { 'Idempotency-Key': key, 'X-Relay-Wait': '120s' } : {};
    seen.answer = undefined;
    let answer;
    try {
      const result = await call(client, spec, parts, headers);
      answer = await told(spec.step, seen.answer);
      // Later steps take what the SDK hands out: of an upload it is the data alone.
      answer.result = result?.code === undefined && answer.body.data ? { data: result } : result;
    } catch (error) {
      if (error.response) answer = await told(spec.step, error.response);
      else if (!patient || attempt === TRIES_MAX) throw error;
    }
    const over = answer && (answer.http < 500 || answer.state === 'in_doubt');
    if (answer && (over || !patient || attempt === TRIES_MAX)) return answer;
    await pause(PAUSE_MS);
  }
}

async function main() {
  const { values: words } = parseArgs({
    options: { base: { type: 'string' }, 'app-id': { type: 'string' }, patient: { type: 'boolean' } },
  });
  const secret = process.env.SDK_SECRET;
  const kept = new Map();
  let tokens = 0;
  const cache = {
    get: async (key, options) => kept.get(`${options?.namespace}/${String(key)}`),
    set: async (key, value, _expires, options) => {
      tokens += 1;
      kept.set(`${options?.namespace}/${String(key)}`, value);
      return true;
    },
  };
  const quiet = Object.fromEntries(['fatal', 'error', 'warn', 'info', 'debug', 'trace'].map((name) => [name, () => {}]));
  const client = new lark.Client({
    appId: words['app-id'], appSecret: secret, domain: words.base, cache, logger: quiet,
  });
  // The SDK hands out less than it was answered: status and headers are noted on the way.
  const seen = {};
  lark.defaultHttpInstance.defaults.timeout = 150_000;
  lark.defaultHttpInstance.interceptors.request.use((request) => {
    const note = (data, headers, status) => {
      seen.answer = { status, headers: headers.toJSON(), data };
      return data;
    };
    request.transformResponse = [request.transformResponse, note].flat();
    return request;
  });

  const scenario = JSON.parse(readFileSync(new URL('scenario.json', import.meta.url)));
  const answers = { ...(await ask({ names: true })), app_id: words['app-id'], secret };
  for (const spec of scenario) {
    const { step } = spec;
    if (spec.clock) {
      await ask({ clock: spec.clock });
      continue;
    }
    let act;
    try {
      if (spec.act) act = filled(answers, spec.act);
      else filled(answers, spec);
    } catch {
      // It needs what another step was not given.
      say({ answer: { step, skipped: true } });
      continue;
    }
    if (act) {
      answers[step] = await ask({ act });
      continue;
    }
    await ask({ begin: step });
    const { result, ...answer } = await perform(client, answers, spec, words.patient, seen);
    answers[step] = result ?? answer.body;
    say({ answer });
  }
  say({ tokens });
  process.exit(0);
}

await main();
