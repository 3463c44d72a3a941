// The npm client `openai` over everything that the service answers.
//
//   OPENAI_BASE_URL=http://127.0.0.1:9000/v1 OPENAI_API_KEY=… node --test every_call.mjs
//
// CLIENT names the package, if it is not `openai`.

import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

const { default: OpenAI, toFile } = await import(process.env.CLIENT ?? 'openai');

const client = new OpenAI();
const ENDS = ['completed', 'failed', 'expired', 'cancelled'];
const messages = [{ role: 'user', content: 'Name a river.' }];

function line(custom_id, body) {
  return JSON.stringify({ custom_id, method: 'POST', url: '/v1/chat/completions', body }) + '\n';
}

function lines(count) {
  return Array.from({ length: count }, (_, n) => line(`r${n}`, { model: 'm', messages })).join('');
}

async function batchOf(text, more = {}) {
  const file = await client.files.create({
    file: await toFile(Buffer.from(text), 'in.jsonl'),
    purpose: 'batch',
  });
  return client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    ...more,
  });
}

async function until(id, holds) {
  for (;;) {
    const batch = await client.batches.retrieve(id);
    if (holds(batch)) return batch;
    await pause(20);
  }
}

const ended = (id) => until(id, (batch) => ENDS.includes(batch.status));

async function rows(fileId) {
  const answer = await client.files.content(fileId);
  const text = await answer.text();
  return text.trimEnd().split('\n').map((row) => JSON.parse(row));
}

test('a batch goes from a file on disk to its output and its errors', async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'headrace-')), 'in.jsonl');
  await writeFile(path, lines(30) + line('bad', { model: 'm', messages: 'no list' }));
  const file = await client.files.create({ file: createReadStream(path), purpose: 'batch' });
  assert.equal((await client.files.waitForProcessing(file.id)).status, 'processed');

  const made = await client.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    metadata: { team: 'search' },
  });
  assert.equal(made.status, 'validating');
  const batch = await ended(made.id);
  assert.equal(batch.status, 'completed');
  assert.deepEqual(batch.request_counts, { total: 31, completed: 30, failed: 1 });
  assert.deepEqual(batch.metadata, { team: 'search' });

  const answered = await rows(batch.output_file_id);
  const named = new Set(answered.map((row) => row.custom_id));
  assert.deepEqual(named, new Set(Array.from({ length: 30 }, (_, n) => `r${n}`)));
  assert.ok(answered.every((row) => row.response.body.choices[0].message.content));
  const [failed, ...others] = await rows(batch.error_file_id);
  assert.deepEqual([failed.custom_id, failed.response.status_code], ['bad', 400]);
  assert.equal(others.length, 0);
});

test('a batch is cancelled in the middle and keeps what was answered', async () => {
  const made = await batchOf(lines(4000));
  await until(made.id, (batch) => batch.request_counts.completed > 0);
  assert.ok(['cancelling', 'cancelled'].includes((await client.batches.cancel(made.id)).status));
  const batch = await ended(made.id);
  assert.equal(batch.status, 'cancelled');
  const answered = await rows(batch.output_file_id);
  assert.equal(answered.length, batch.request_counts.completed);
  const rest = await rows(batch.error_file_id);
  assert.equal(answered.length + rest.length, 4000);
  assert.ok(rest.every((row) => row.error.code === 'batch_cancelled'));
  await assert.rejects(client.batches.cancel(made.id), OpenAI.ConflictError);
});

test('a wrong input fails and names its lines', async () => {
  const made = await batchOf(lines(2) + 'no json\n' + lines(1));
  const batch = await ended(made.id);
  assert.equal(batch.status, 'failed');
  const found = batch.errors.data.map((each) => [each.code, each.line]);
  assert.deepEqual(found, [['invalid_json_line', 3], ['duplicate_custom_id', 4]]);
});

test('pages of batches and of files hold each of them once', async () => {
  const made = [];
  for (let n = 0; n < 5; n += 1) made.push(await batchOf(lines(1)));
  const batches = [];
  for await (const batch of client.batches.list({ limit: 2 })) batches.push(batch.id);
  assert.equal(new Set(batches).size, batches.length);
  assert.deepEqual(batches.slice(0, 5), made.map((batch) => batch.id).reverse());

  const files = [];
  for await (const file of client.files.list({ limit: 2, purpose: 'batch', order: 'asc' })) {
    files.push(file.id);
  }
  assert.equal(new Set(files).size, files.length);
  assert.deepEqual(files.slice(-5), made.map((batch) => batch.input_file_id));
});

test('a deleted file is gone', async () => {
  const file = await client.files.create({
    file: await toFile(Buffer.from(lines(1)), 'in.jsonl'),
    purpose: 'batch',
  });
  assert.equal((await client.files.retrieve(file.id)).filename, 'in.jsonl');
  assert.ok((await client.files.delete(file.id)).deleted);
  await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
});

test('a chat is answered whole, and in pieces', async () => {
  const whole = await client.chat.completions.create({ model: 'm', messages, max_tokens: 8 });
  assert.ok(whole.choices[0].message.content);
  assert.ok(whole.usage.total_tokens > 0);

  const pieces = [];
  let usage;
  const stream = await client.chat.completions.create({
    model: 'm',
    messages,
    max_tokens: 8,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    if (chunk.choices.length) pieces.push(chunk.choices[0].delta.content ?? '');
    usage = chunk.usage ?? usage;
  }
  assert.ok(pieces.length > 2);
  assert.equal(usage.completion_tokens, 8);
});

test('responses, completions, embeddings and models are answered', async () => {
  assert.ok((await client.responses.create({ model: 'm', input: 'a' })).output_text);
  const stream = await client.responses.create({ model: 'm', input: 'a', stream: true });
  const types = [];
  for await (const event of stream) types.push(event.type);
  assert.equal(types.at(0), 'response.created');
  assert.equal(types.at(-1), 'response.completed');

  assert.ok((await client.completions.create({ model: 'm', prompt: 'a' })).choices[0].text);
  const vectors = await client.embeddings.create({ model: 'm', input: ['a', 'b'] });
  assert.equal(vectors.data.length, 2);
  assert.ok(vectors.data[0].embedding.every(Number.isFinite));
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  assert.deepEqual(models, ['m']);
});

test('errors are those of the client', async () => {
  const stranger = new OpenAI({ apiKey: 'nobody', maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  const unknown = client.chat.completions.create({ model: 'unknown', messages });
  await assert.rejects(unknown, OpenAI.NotFoundError);
  await assert.rejects(client.batches.retrieve('batch_none'), (error) => {
    return error instanceof OpenAI.NotFoundError && error.type === 'invalid_request_error';
  });
});
