// The shortest program that sends an event, or receives one, with somebody's own values. `key` is what stands for the
// key in it: the page shows one without its middle, and copies the whole.

const subject = (topic) => `events.${topic.replaceAll("/", ".")}`;
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const python = {
  send: ({ key, nats, topic, data }) => `# pip install nats-py
import asyncio, nats

KEY = ${JSON.stringify(key)}
NATS = ${JSON.stringify(nats)}
SUBJECT = ${JSON.stringify(subject(topic))}
DATA = ${JSON.stringify(data)}

async def main():
    nc = await nats.connect(NATS, token=KEY)
    stored = await nc.request(SUBJECT, DATA.encode(), timeout=5)
    print(stored.data.decode())
    await nc.close()

asyncio.run(main())
`,
  receive: ({ key, base }) => `# from a checkout of Keyfold, or its wheel: keyfold_client
import keyfold_client

with keyfold_client.connect_sync(${JSON.stringify(base)}, key=${JSON.stringify(key)}) as app:
    for event in app.consume():
        print(event.topic, event.data)
        event.ack()
`,
};

const javascript = {
  send: ({ key, nats, topic, data }) => `// Save as first.mjs, then: npm install @nats-io/transport-node@3 && node first.mjs
import { connect } from "@nats-io/transport-node";

const token = ${JSON.stringify(key)};
const servers = ${JSON.stringify(nats)};
const subject = ${JSON.stringify(subject(topic))};
const data = ${JSON.stringify(data)};

const nc = await connect({ servers, token });
const stored = await nc.request(subject, data, { timeout: 5000 });
console.log(stored.string());
await nc.close();
`,
  receive: ({ key, base }) => `// Save as first.mjs, then: node first.mjs (18 or newer, nothing to install)
const call = async (what, body) => {
  const answer = await fetch(${JSON.stringify(`${base}/api/v1/consumers/own/`)} + what, {
    method: "POST",
    headers: { Authorization: ${JSON.stringify(`Bearer ${key}`)}, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return (await answer.json()).data;
};
for (const each of await call("pull", { batch: 10, waitSeconds: 20 })) {
  console.log(each.topic, each.event.data);
  await call("ack", { tokens: [each.token] });
}
`,
};

const curl = {
  send: ({ key, base, topic, data }) => `curl ${quoted(`${base}/api/v1/events?topic=${topic}`)} \\
  -H ${quoted(`Authorization: Bearer ${key}`)} \\
  -H 'Content-Type: application/json' \\
  -d ${quoted(data)}
`,
  receive: ({ key, base }) => `curl -N ${quoted(`${base}/api/v1/events/stream`)} \\
  -H ${quoted(`Authorization: Bearer ${key}`)}
`,
};

const cli = {
  send: ({ key, nats, topic, data }) => `nats request ${subject(topic)} ${quoted(data)} \\
  --server ${nats} --user ${quoted(key)}
`,
  receive: ({ key, base, nats }) => `# the consumer says in which stream it is, and by what name
curl -s ${quoted(`${base}/api/v1/consumers/own`)} -H ${quoted(`Authorization: Bearer ${key}`)}
nats consumer next STREAM NAME --ack \\
  --server ${nats} --user ${quoted(key)} --js-domain keyfold
`,
};

export const SNIPPETS = { python, javascript, curl, cli };
