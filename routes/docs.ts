/**
 * The contract and its documentation, served by the node itself: no CDN, no
 * inline script, nothing the page's own policy would not let in.
 *
 * @module
 */

import { escapeHtml, htmlPage } from "./html.ts";
import { openApiDocument, toYaml } from "./openapi.ts";
import type { App } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { noSuchPath } from "./problem.ts";

/** What the page needs of the package, by name, with its type. */
const ASSETS = new Map([
  ["swagger-ui.css", "text/css; charset=utf-8"],
  ["swagger-ui-bundle.js", "text/javascript; charset=utf-8"],
  ["favicon-32x32.png", "image/png"],
]);

const START = `SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });\n`;

const HEAD = `<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<script src="/docs/swagger-ui-bundle.js" defer></script>
<script src="/docs/start.js" defer></script>
`;

export function docsRoutes(app: App, ports: Ports): void {
  const document = once(() => openApiDocument(app, ports.version));
  const asJson = once(() => JSON.stringify(document()));
  const asYaml = once(() => toYaml(document()));

  app.get("/openapi.json", (c) => text(c.env, asJson(), "application/json"));
  app.get("/openapi.yaml", async (c) => text(c.env, await asYaml(), "application/yaml"));
  app.get("/docs", (c) => {
    const title = `API, version ${ports.version}`;
    const main = `<div id="docs"><noscript>See <a href="/openapi.yaml">openapi.yaml</a> of ${escapeHtml(title)}.</noscript></div>`;
    return htmlPage(c.env, { title, main, head: HEAD });
  });
  app.get("/docs/:asset", async (c) => {
    const name = c.req.param("asset");
    if (name === "start.js") return text(c.env, START, "text/javascript; charset=utf-8");
    const type = ASSETS.get(name);
    const bytes = type === undefined ? undefined : await ports.assets(name);
    if (type === undefined || bytes === undefined) throw noSuchPath();
    const headers = { "content-type": type, "cache-control": "public, max-age=3600" };
    return new Response(new Uint8Array(bytes), { headers: c.env.headers(headers) });
  });
}

type Call = Parameters<typeof htmlPage>[0];

function text(call: Call, body: string, type: string): Response {
  const headers = call.headers({ "content-type": type, "cache-control": "no-cache" });
  return new Response(body, { headers });
}

/** Made when first asked for: most nodes never are, and start-up is short. */
function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
