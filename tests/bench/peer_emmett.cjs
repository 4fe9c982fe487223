// emmett-postgresql on Node, driven by lines: `node peer_emmett.cjs FOLDER`, the folder being where it is installed.
// Questions: open, append (`writers` at once for `seconds`), fill and read (`events`). Every append is one event of a
// new stream, as in the other peers.
const { randomUUID } = require('node:crypto');
const { createRequire } = require('node:module');
const { createInterface } = require('node:readline');

const installed = createRequire(`${process.argv[2]}/`);
const { getPostgreSQLEventStore, readMessagesBatch } = installed('@event-driven-io/emmett-postgresql');
const { dumbo } = installed('@event-driven-io/dumbo');

const event = () => ({ type: 'IntegrationCreated', data: { rest: '.'.repeat(size - 11) } });
const seconds = (since) => (performance.now() - since) / 1000;
let store, pool, size, filled = 0;

const answers = {
  async open({ url, size: bytes }) {
    size = bytes;
    store = getPostgreSQLEventStore(url);
    pool = dumbo({ connectionString: url });
    await store.schema.migrate();
    return {};
  },

  async append({ writers, seconds: limit }) {
    const started = performance.now();
    let count = 0;
    const write = async () => {
      while (seconds(started) < limit) {
        await store.appendToStream(`integration-${randomUUID()}`, [event()]);
        count += 1;
      }
    };
    await Promise.all(Array.from({ length: writers }, write));
    return { count, seconds: seconds(started) };
  },

  async fill({ events }) {
    const started = performance.now();
    while (filled < events) {
      await store.appendToStream(`integration-${randomUUID()}`, Array.from({ length: 500 }, event));
      filled += 500;
    }
    return { count: events, seconds: seconds(started) };
  },

  async read({ events, batch }) {
    const started = performance.now();
    let count = 0, after = 0n;
    while (count < events) {
      const batchSize = Math.min(batch, events - count);
      const { messages, currentGlobalPosition } = await readMessagesBatch(pool.execute, { after, batchSize });
      if (messages.length === 0) throw new Error(`the log ends after ${count} of ${events} events`);
      count += messages.length;
      after = currentGlobalPosition;
    }
    return { count, seconds: seconds(started) };
  },
};

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    const question = JSON.parse(line);
    const answer = await answers[question.do](question).catch((error) => ({ error: String(error.stack) }));
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
  process.exit(0);
}

main();
