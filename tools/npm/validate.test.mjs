import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { validate } from './validate.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

let scratch;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'validate-'));
});
after(() => rm(scratch, { recursive: true }));

for (const document of ['asyncapi.yaml', 'openapi.yaml']) {
  test(`${document} is valid`, async () => {
    assert.deepEqual(await validate(here(`testdata/${document}`)), []);
  });
}

// Each case breaks a valid document in one place, and names the rule that must report the mistake there.
const broken = [
  { name: 'a key given twice', document: 'asyncapi.yaml', from: 'info:', to: 'asyncapi: 3.0.0\ninfo:', rule: 'yaml' },
  { name: 'an older AsyncAPI', document: 'asyncapi.yaml', from: 'asyncapi: 3.0.0', to: 'asyncapi: 2.6.0', rule: 'version' },
  { name: 'an unknown action', document: 'asyncapi.yaml', from: 'action: send', to: 'action: shout', rule: 'asyncapi-schema' },
  { name: 'an unknown field of a server', document: 'asyncapi.yaml', from: 'protocol: ws', to: 'protocl: ws', rule: 'asyncapi-schema' },
  { name: 'an unknown payload type', document: 'asyncapi.yaml', from: 'now: {type: integer}', to: 'now: {type: intger}', rule: 'asyncapi-schema' },
  { name: 'a message that does not exist', document: 'asyncapi.yaml', from: 'components/messages/pong', to: 'components/messages/pang', rule: 'no-unresolved-refs' },
  { name: 'a message from outside the channel', document: 'asyncapi.yaml', from: "[{$ref: '#/channels/session/messages/pong'}]", to: "[{$ref: '#/components/messages/pong'}]", rule: 'operation-messages' },
  { name: 'an example unlike its message', document: 'asyncapi.yaml', from: 'now: 1700000000000', to: 'now: soon', rule: 'message-examples' },
  { name: 'a reference to the network', document: 'asyncapi.yaml', from: "'#/components/messages/pong'", to: 'https://localhost/pong.yaml', rule: 'no-unresolved-refs' },
  { name: 'an older OpenAPI', document: 'openapi.yaml', from: 'openapi: 3.1.0', to: 'openapi: 3.0.3', rule: 'version' },
  { name: 'an unknown field of a response', document: 'openapi.yaml', from: 'description: It is up.', to: 'descriptin: It is up.', rule: 'openapi-schema' },
  { name: 'an optional path parameter', document: 'openapi.yaml', from: 'in: path, required: true', to: 'in: path', rule: 'openapi-schema' },
  { name: 'a parameter that the path lacks', document: 'openapi.yaml', from: 'name: id, in: path', to: 'name: sid, in: path', rule: 'path-parameters-defined' },
  { name: 'an operation named twice', document: 'openapi.yaml', from: 'operationId: getSession', to: 'operationId: ping', rule: 'operation-operationId-unique' },
  { name: 'an example unlike its schema', document: 'openapi.yaml', from: 'example: {message: pong}', to: 'example: {message: 3}', rule: 'no-invalid-media-type-examples' },
  { name: 'a schema that does not exist', document: 'openapi.yaml', from: 'schemas/Pong', to: 'schemas/Pang', rule: 'no-unresolved-refs' },
];

for (const { name, document, from, to, rule } of broken) {
  test(`${document}: ${name}`, async () => {
    const valid = await readFile(here(`testdata/${document}`), 'utf8');
    assert.ok(valid.includes(from), `the document has no ${from}`);
    const path = join(scratch, `${broken.findIndex((c) => c.name === name)}.yaml`);
    await writeFile(path, valid.replace(from, to));

    const rules = (await validate(path)).map((p) => p.rule);
    assert.ok(rules.includes(rule), `found [${rules}], want ${rule} among them`);
  });
}

test('the command fails for a document that does not exist', async () => {
  const { code, stderr } = await new Promise((resolve) => {
    execFile(process.execPath, [here('validate.mjs'), here('testdata/openapi.yaml'), join(scratch, 'missing.yaml')], (error, stdout, stderr) => resolve({ code: error?.code, stdout, stderr }));
  });
  assert.equal(code, 1);
  assert.match(stderr, /missing\.yaml:1:1: the document does not exist/);
});
