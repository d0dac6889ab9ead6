// In: src/. Out: dist/, the folder the server embeds: one html file per page and language, and dist/assets/ whose names
// carry a hash of their content. Each text file also lies there as .br and .gz, so that the server never compresses.
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = path.dirname(fileURLToPath(import.meta.url));
const src = path.join(root, "src");
const dist = path.join(root, "dist");
const assets = path.join(dist, "assets");

const LANGUAGES = { ar: "rtl", en: "ltr" };
const PAGES = { home: "home.ts", watch: "watch.ts", studio: "studio.ts", missing: null };
const COMPRESSED = new Set([".js", ".css", ".svg", ".html"]);
/** Below this many bytes a compressed copy saves less than its header costs. */
const COMPRESS_MIN_BYTES = 512;

/** Writes `content` under a name that changes with it and answers that name's address. */
async function writeHashed(stem, extension, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8).toUpperCase();
  const name = `${stem}-${hash}${extension}`;
  await writeFile(path.join(assets, name), content);
  return `/assets/${name}`;
}

async function bundle(workerUrl) {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [...Object.values(PAGES).filter(Boolean).map((script) => `src/${script}`), "src/styles/site.css"],
    outdir: "dist/assets",
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    publicPath: "/assets",
    bundle: true,
    splitting: true,
    format: "esm",
    target: ["es2020", "safari15"],
    minify: true,
    metafile: true,
    legalComments: "none",
    loader: { ".woff2": "file", ".svg": "file" },
    define: { HLS_WORKER_URL: JSON.stringify(workerUrl) },
    logLevel: "warning",
  });
  const outputs = Object.entries(result.metafile.outputs);
  const url = (file) => `/${path.posix.relative("dist", file)}`;
  return {
    entry: (source) => url(outputs.find(([, output]) => output.entryPoint === source)[0]),
    /** What the browser should fetch at once: the entry's own imports. hls.js waits until it is known to be needed. */
    preloads: (source) => {
      const [, output] = outputs.find(([, candidate]) => candidate.entryPoint === source);
      return output.imports.filter((item) => item.kind === "import-statement").map((item) => url(item.path));
    },
    file: (stem) => url(outputs.map(([file]) => file).find((file) => path.basename(file).startsWith(stem))),
  };
}

function fill(template, values) {
  return template.replace(/\{\{(\w+)\}\}/g, (_, key) => {
    if (!(key in values)) throw new Error(`the template names {{${key}}}, which nothing fills`);
    return values[key];
  });
}

/** Puts in what several pages share: `{{>chat}}` is html/chat.html. */
async function withParts(template) {
  const names = [...template.matchAll(/\{\{>(\w+)\}\}/g)].map(([, name]) => name);
  const parts = await Promise.all(names.map((name) => readFile(path.join(src, "html", `${name}.html`), "utf8")));
  return names.reduce((text, name, index) => text.replace(`{{>${name}}}`, () => parts[index].trimEnd()), template);
}

const escapeHtml = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

async function writePages(bundled, icon) {
  const layout = await readFile(path.join(src, "html", "layout.html"), "utf8");
  for (const [page, script] of Object.entries(PAGES)) {
    const body = await withParts(await readFile(path.join(src, "html", `${page}.html`), "utf8"));
    for (const [lang, dir] of Object.entries(LANGUAGES)) {
      const texts = JSON.parse(await readFile(path.join(src, "i18n", `${lang}.json`), "utf8"));
      // Counted phrases are objects; only scripts use those.
      const plain = Object.entries(texts).filter(([, text]) => typeof text === "string");
      const values = Object.fromEntries(plain.map(([key, text]) => [key, escapeHtml(text)]));
      const head = script
        ? [
            ...bundled.preloads(`src/${script}`).map((href) => `<link rel="modulepreload" href="${href}">`),
            `<script type="module" src="${bundled.entry(`src/${script}`)}"></script>`,
          ]
        : [];
      const font = bundled.file(lang === "ar" ? "readex-pro-arabic-wght" : "readex-pro-latin-wght");
      const html = fill(fill(layout, { ...values, body, lang, dir, font, icon, page, head: head.join("\n"),
        css: bundled.entry("src/styles/site.css"), title: values[`${page}Title`], other: lang === "ar" ? "en" : "ar" }), values);
      await writeFile(path.join(dist, `${page}.${lang}.html`), html);
    }
  }
}

async function compress(folder) {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) await compress(file);
    else if (COMPRESSED.has(path.extname(file))) {
      const content = await readFile(file);
      if (content.length < COMPRESS_MIN_BYTES) continue;
      await writeFile(`${file}.gz`, gzipSync(content, { level: 9 }));
      const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length };
      await writeFile(`${file}.br`, brotliCompressSync(content, { params }));
    }
  }
}

await rm(dist, { recursive: true, force: true });
await mkdir(assets, { recursive: true });
const worker = await readFile(path.join(root, "node_modules/hls.js/dist/hls.worker.js"), "utf8");
const workerUrl = await writeHashed("hls.worker", ".js", worker.replace(/\n\/\/# sourceMappingURL=.*$/m, ""));
const icon = await writeHashed("icon", ".svg", await readFile(path.join(src, "art", "icon.svg")));
await writePages(await bundle(workerUrl), icon);
await compress(dist);
