// Validates API documents, offline: node validate.mjs docs/asyncapi.yaml docs/openapi.yaml
//
// A document passes if it fits the JSON Schema of its specification, keeps the
// linter's rules, and keeps two more rules, which this program checks itself:
// an operation's messages belong to the operation's channel, and each example
// fits its message. Any problem makes the program fail.

import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

import asyncapiSpecs from '@asyncapi/specs';
import { createConfig, getLineColLocation, lint } from '@redocly/openapi-core';
import { Validator as OpenAPIValidator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import { LineCounter, parseDocument } from 'yaml';

// The linter would fetch references from the network, but the documents must be complete in themselves.
globalThis.fetch = async (url) => {
  throw new Error(`not fetched: ${url}`);
};

const config = await createConfig({
  extends: ['recommended-strict'],
  rules: {
    // The rule forbids localhost, but the example server is on the reader's own machine.
    'no-server-example.com': 'off',
    // The rule requires a 4xx response of each operation, but a health probe has none.
    'operation-4xx-response': 'off',
  },
  async3Rules: {
    // The rule requires a security scheme for the handshake, but the credential is in the join message.
    'security-defined': 'off',
    // The rule requires a URL or an SPDX identifier of the licence, but AsyncAPI has no SPDX identifiers, and
    // does not require the URL.
    'info-license-strict': 'off',
  },
});

/**
 * Returns the document's problems in the order of their place in the text.
 * @param {string} path
 * @returns {Promise<{line: number, column: number, rule: string, message: string}[]>}
 */
export async function validate(path) {
  const text = await readFile(path, 'utf8');
  const lines = new LineCounter();
  const yaml = parseDocument(text, { lineCounter: lines });
  const at = (offset) => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };

  if (yaml.errors.length > 0 || yaml.warnings.length > 0) {
    return [...yaml.errors, ...yaml.warnings].map((e) => ({ ...at(e.pos[0]), rule: 'yaml', message: e.message.split('\n')[0] }));
  }

  const doc = yaml.toJS();
  let found;
  if (/^3\.\d+\.\d+$/.test(doc?.asyncapi)) {
    found = [...asyncapiSchema(doc), ...operationMessages(doc), ...messageExamples(doc)];
  } else if (/^3\.1\.\d+$/.test(doc?.openapi)) {
    found = await openapiSchema(doc);
  } else {
    return [{ line: 1, column: 1, rule: 'version', message: 'neither an AsyncAPI 3 nor an OpenAPI 3.1 document' }];
  }

  const problems = found.map(({ pointer, rule, message }) => ({ ...at(offsetOf(yaml, pointer)), rule, message: `${pointer || '/'}: ${message}` }));
  for (const problem of await lint({ ref: path, config })) {
    const { start } = getLineColLocation(problem.location[0]);
    problems.push({ line: start.line, column: start.col, rule: problem.ruleId, message: problem.message });
  }
  return problems.sort((a, b) => a.line - b.line || a.column - b.column);
}

/** Checks an AsyncAPI document against the schema of the AsyncAPI specification. */
function asyncapiSchema(doc) {
  const schema = asyncapiSpecs.schemasWithoutId[doc.asyncapi];
  if (!schema) {
    return [{ pointer: '/asyncapi', rule: 'asyncapi-schema', message: `unknown version ${doc.asyncapi}` }];
  }
  const ajv = new Ajv({ allErrors: true, strict: false });
  addFormats(ajv);
  const check = ajv.compile(schema);
  check(doc);
  return schemaProblems('asyncapi-schema', check.errors);
}

/** Checks an OpenAPI document against the schema of the OpenAPI specification. */
async function openapiSchema(doc) {
  const { valid, errors } = await new OpenAPIValidator().validate(structuredClone(doc));
  if (valid) {
    return [];
  }
  return typeof errors === 'string' ? [{ pointer: '', rule: 'openapi-schema', message: errors }] : schemaProblems('openapi-schema', errors);
}

/** Checks that an operation, and its reply, name only messages of the operation's channel. */
function* operationMessages(doc) {
  for (const [name, { channel, messages, reply }] of Object.entries(doc.operations ?? {})) {
    const sides = [
      ['messages', messages, channel],
      ['reply/messages', reply?.messages, reply?.channel ?? channel],
    ];
    for (const [side, named, owner] of sides) {
      for (const [i, message] of (named ?? []).entries()) {
        if (!String(message.$ref).startsWith(`${owner?.$ref}/messages/`)) {
          yield { pointer: `/operations/${escape(name)}/${side}/${i}`, rule: 'operation-messages', message: `${message.$ref} is not a message of the operation's channel` };
        }
      }
    }
  }
}

/** Checks that each example of a message fits the message's schemas. */
function* messageExamples(doc) {
  const ajv = new Ajv({ allErrors: true, strict: false, validateSchema: false });
  addFormats(ajv);
  ajv.addSchema(doc, 'document');

  const owners = [['/components', doc.components], ...Object.entries(doc.channels ?? {}).map(([name, channel]) => [`/channels/${escape(name)}`, channel])];
  for (const [owner, { messages } = {}] of owners) {
    for (const [name, message] of Object.entries(messages ?? {})) {
      for (const [i, example] of (message.examples ?? []).entries()) {
        for (const part of ['payload', 'headers']) {
          const pointer = `${owner}/messages/${escape(name)}`;
          if (example[part] === undefined || message[part] === undefined) {
            continue;
          }
          try {
            ajv.validate({ $ref: `document#${encodeURI(`${pointer}/${part}`)}` }, example[part]);
          } catch (e) {
            yield { pointer: `${pointer}/${part}`, rule: 'message-examples', message: e.message };
            continue;
          }
          for (const problem of schemaProblems('message-examples', ajv.errors)) {
            yield { ...problem, pointer: `${pointer}/examples/${i}/${part}${problem.pointer}` };
          }
        }
      }
    }
  }
}

/**
 * Converts a schema validator's errors to problems. Drops an error that only says that a branch did not match,
 * if another error gives the reason.
 */
function schemaProblems(rule, errors) {
  const all = (errors ?? []).map((e) => ({ ...e, text: `${e.message}${detail(e.params)}` }));
  const telling = all.filter((e) => !['if', 'oneOf', 'anyOf', 'not'].includes(e.keyword) && e.params.missingProperty !== '$ref');
  const problems = (telling.length > 0 ? telling : all).map((e) => ({ pointer: e.instancePath, rule, message: e.text }));
  return [...new Map(problems.map((p) => [`${p.pointer} ${p.message}`, p])).values()];
}

function detail(params) {
  const value = params.additionalProperty ?? params.unevaluatedProperty ?? params.allowedValues ?? params.allowedValue;
  return value === undefined ? '' : `: ${[value].flat().join(', ')}`;
}

/** Returns the offset in the text of the value at a JSON pointer, or of its nearest parent. */
function offsetOf(yaml, pointer) {
  const path = pointer.split('/').slice(1).map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  for (; path.length > 0; path.pop()) {
    const node = yaml.getIn(path, true);
    if (node?.range) {
      return node.range[0];
    }
  }
  return 0;
}

function escape(key) {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

async function main(paths) {
  if (paths.length === 0) {
    console.error('usage: node validate.mjs DOCUMENT...');
    return 2;
  }
  let failed = 0;
  for (const path of paths) {
    let problems;
    try {
      problems = await validate(path);
    } catch (e) {
      problems = [{ line: 1, column: 1, rule: 'read', message: e.code === 'ENOENT' ? 'the document does not exist' : e.message }];
    }
    for (const { line, column, rule, message } of problems) {
      console.error(`${path}:${line}:${column}: ${message} (${rule})`);
    }
    failed += problems.length > 0;
    if (problems.length === 0) {
      console.log(`${path}: valid`);
    }
  }
  return failed > 0 ? 1 : 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main(process.argv.slice(2));
}
