/**
 * The few pages made for people.
 *
 * @module
 */

import type { Call } from "./call.ts";

/** Nothing from anywhere else, nothing inline but style, no frames. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export function htmlPage(
  call: Call,
  page: { title: string; main: string; head?: string },
): Response {
  const body = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(page.title)} · Tidegate</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:44em;margin:3em auto;padding:0 1em;color:#1b1f24}code{background:#eef1f4;padding:.1em .3em;border-radius:3px}dt{font-weight:600;margin-top:1em}dd{margin:0}body.wide{max-width:none;margin:0}</style>
${page.head ?? ""}</head>
<body${page.head === undefined ? "" : ' class="wide"'}>
${page.main}
</body>
</html>
`;
  const headers = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
  };
  return new Response(body, { headers: call.headers(headers) });
}

export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
