// Driven by real_client.rs: node real_client.mjs <folder with node_modules> <server>. Every link of the app's client
// library calls the server; the first unexpected answer ends the run.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [web, base] = process.argv.slice(2);
const require = createRequire(join(web, 'package.json'));
const { createTRPCClient, httpBatchLink, httpBatchStreamLink, httpLink, TRPCClientError } = require('@trpc/client');
const { default: superjson } = await import(pathToFileURL(join(web, 'node_modules/superjson/dist/index.js')));

const url = `${base}/api/trpc`;
let token;
const headers = () => ({ 'accept-language': 'en', ...(token ? { authorization: `Bearer ${token}` } : {}) });
const client = (link) => createTRPCClient({ links: [link({ url, transformer: superjson, headers })] });
const links = { httpLink: client(httpLink), httpBatchLink: client(httpBatchLink), httpBatchStreamLink: client(httpBatchStreamLink) };

const refused = async (call, code, status) => {
  const error = await call.then(
    (answer) => assert.fail(`answered ${JSON.stringify(answer)}`),
    (error) => error,
  );
  assert.ok(error instanceof TRPCClientError, String(error));
  assert.equal(error.data?.code, code, error.message);
  assert.equal(error.data?.httpStatus, status);
  return error;
};

for (const [name, api] of Object.entries(links)) {
  token = undefined;
  const username = name.toLowerCase();
  const account = { name, username, email: `${username}@example.com`, password: 'correct horse' };

  const registered = await api.auth.register.mutate(account);
  assert.ok(registered.expiresAt instanceof Date, 'dates arrive as dates');
  assert.ok(registered.expiresAt.getTime() > Date.now());
  assert.equal(typeof registered.user.joinedDate, 'string');

  const taken = await refused(api.auth.register.mutate(account), 'CONFLICT', 409);
  assert.equal(taken.message, 'This e-mail address is already registered');
  await refused(api.auth.me.query(), 'UNAUTHORIZED', 401);
  const issues = JSON.parse((await refused(api.auth.register.mutate({ name: 5 }), 'BAD_REQUEST', 400)).message);
  assert.deepEqual(issues.map((issue) => issue.path[0]), ['name', 'username', 'email', 'password']);
  await refused(api.streaming.nope.query(), 'NOT_FOUND', 404);

  token = registered.accessToken;
  // Calls of one tick: one request for the batching links, answers in any order, one of them a refusal.
  const missing = api.users.getProfile.query({ userId: 'nobody' });
  const [me, own, active] = await Promise.all([
    api.auth.me.query(),
    api.users.getProfile.query({ userId: undefined }),
    api.streaming.getActiveSessions.query({}),
    refused(missing, 'NOT_FOUND', 404),
  ]);
  assert.deepEqual(me.user, registered.user);
  assert.equal(own.isOwnProfile, true);
  assert.ok(own.profile.joinedAt instanceof Date);
  assert.equal(own.profile.currentStreamId, null);
  assert.deepEqual([active.sessions, active.total, active.hasMore], [[], 0, false]);

  const scheduledAt = new Date('2030-01-02T03:04:05.678Z');
  const created = await api.streaming.createSession.mutate({ title: 'عرض', type: 'video', scheduledAt, category: undefined });
  assert.deepEqual(created.session.scheduledAt, scheduledAt);
  assert.equal('category' in created.session, false);

  await api.auth.logout.mutate();
  await refused(api.auth.refresh.mutate({ refreshToken: registered.refreshToken }), 'UNAUTHORIZED', 401);
}

console.log('all calls as expected');
