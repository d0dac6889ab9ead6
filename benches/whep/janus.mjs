// Usage: node janus.mjs NODE_MODULES JANUS_URL PORT MOUNTPOINT. The WHEP side of Janus, by its own package, on 127.0.0.1:PORT:
// POST /whep/endpoint/show. Prints a line when it listens.
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, janus, port, mountpoint] = process.argv.slice(2);
const find = createRequire(pathToFileURL(`${resolve(modules)}/`));
const load = async (name) => import(pathToFileURL(find.resolve(name)));

const { default: express } = await load("express");
const { JanusWhepServer } = await load("janus-whep-server");
const app = express();
// Janus 1.1.2 answers a viewer's offer with a=setup:actpass, which is for offers only (RFC 8842 section 5.3), and then greets first. Browsers
// refuse such an answer; here it says what Janus does.
app.use((_request, response, next) => {
  const write = response.write;
  response.write = (body, ...rest) => write.call(response, String(body).replaceAll("a=setup:actpass", "a=setup:active"), ...rest);
  next();
});
const server = new JanusWhepServer({ janus: { address: janus }, rest: { app, basePath: "/whep" }, debug: "warn" });
await server.start();
server.createEndpoint({ id: "show", mountpoint: Number(mountpoint) });
app.listen(Number(port), "127.0.0.1", () => console.log("listening"));
