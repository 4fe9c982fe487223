// better-auth's api-key plugin on Node: `node peer_better_auth.mjs FOLDER prepare KEYS` makes its tables and prints that
// many keys as a JSON array; `… FOLDER serve PORT` answers POST {"key"} by the plugin's own verifyApiKey. FOLDER is where
// it is installed, the database is named by PGHOST, PGUSER and PGDATABASE.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const [folder, does, number] = process.argv.slice(2);
const installed = createRequire(`${folder}/`);
const load = (name) => import(pathToFileURL(installed.resolve(name)));
const [{ betterAuth }, { getMigrations }, { apiKey }, { default: pg }] = await Promise.all(
  ['better-auth', 'better-auth/db/migration', '@better-auth/api-key', 'pg'].map(load),
);

const options = {
  baseURL: 'http://127.0.0.1',
  secret: 'one that is as long as it should be, for a benchmark',
  database: new pg.Pool({ idleTimeoutMillis: 0 }),
  telemetry: { enabled: false },
  plugins: [apiKey({ rateLimit: { enabled: false }, deferUpdates: true })],
};
const auth = betterAuth(options);

async function prepare() {
  await (await getMigrations(options)).runMigrations();
  const context = await auth.$context;
  const user = await context.internalAdapter.createUser({ name: 'Bench', email: 'bench@example.com' });
  const keys = [];
  for (let i = 0; i < Number(number); i += 1) {
    keys.push((await auth.api.createApiKey({ body: { name: `key ${i}`, userId: user.id } })).key);
  }
  process.stdout.write(JSON.stringify(keys));
  process.exit(0);
}

function serve() {
  const server = createServer(async (request, response) => {
    const { key } = JSON.parse(await text(request));
    const { valid } = await auth.api.verifyApiKey({ body: { key } });
    const body = JSON.stringify({ valid });
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }).end(body);
  });
  server.keepAliveTimeout = 0; // connections rest while the other side has its round
  server.listen(Number(number), '127.0.0.1');
}

await { prepare, serve }[does]();
