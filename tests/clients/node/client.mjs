// Carries out commands with openai-node: one JSON line in, one out. See ../scripts.py.

import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

import OpenAI, { toFile } from "openai";

function counting(retryCounts) {
  return (url, init) => {
    // The library also tries fetch out, on a data: URL.
    const count = new Headers(init?.headers).get("x-stainless-retry-count");
    if (count !== null) retryCounts.push(count);
    return fetch(url, init);
  };
}

async function fileOf(command, asked) {
  const file = path.join(command.folder, asked.file);
  if (asked.as === "stream") return fs.createReadStream(file);
  if (asked.as === "typed") return toFile(fs.readFileSync(file), asked.file, { type: asked.type });
  if (asked.as === "file") return new File([fs.readFileSync(file)], asked.file);
  if (asked.as === "stream to file") return toFile(fs.createReadStream(file));
  return toFile(fs.readFileSync(file), asked.file);
}

// The events of a stream, and the error that it ended in, if it did.
async function heard(stream) {
  const events = [];
  try {
    for await (const event of stream) events.push(event);
  } catch (error) {
    return { events, error: seenOf(error) };
  }
  return { events };
}

async function edit(client, command) {
  const files = [];
  for (const asked of command.images) files.push(await fileOf(command, asked));
  const given = { image: command.alone ? files[0] : files, ...command.fields, ...command.extra };
  if (command.mask) given.mask = await fileOf(command, command.mask);
  const { data, response, request_id } = await client.images
    .edit(given, { headers: command.headers })
    .withResponse();
  const headers = Object.fromEntries(response.headers);
  if (given.stream) return { ...(await heard(data)), headers };
  return { answer: data, headers, request_id };
}

async function generate(client, command) {
  return { answer: await client.images.generate(command.fields) };
}

// Any request, for what the library has no method for.
async function request(client, command) {
  const { method, path, body, headers } = command;
  return { answer: await client[method](path, { body, headers }) };
}

async function models(client) {
  const listed = [];
  for await (const model of client.models.list()) listed.push(model);
  return { answer: listed, one: await client.models.retrieve(listed[0].id) };
}

function seenOf(error) {
  return {
    class: error.constructor.name,
    message: error.message,
    code: error.code,
    param: error.param,
    type: error.type,
    body: error.error,
    status: error.status,
    request_id: error.requestID,
    cause: String(error.cause ?? ""),
  };
}

const does = { edit, generate, models, request };

async function carriedOut(command) {
  const retryCounts = [];
  const client = new OpenAI({
    baseURL: command.base_url,
    apiKey: command.api_key,
    maxRetries: command.max_retries ?? 2,
    timeout: (command.timeout_seconds ?? 30) * 1000,
    fetch: counting(retryCounts),
  });
  let seen;
  try {
    seen = await does[command.do](client, command);
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    seen = { error: seenOf(error) };
  }
  return { ...seen, tries: retryCounts.length, retry_counts: retryCounts };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await carriedOut(JSON.parse(line))) + "\n");
}
