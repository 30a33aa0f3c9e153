/**
 * `GET /problems/{code}`: what a problem's `type` points at, for people.
 *
 * @module
 */

import { CODES, type ErrorCode } from "../storage/base/errors.ts";
import { escapeHtml, htmlPage } from "./html.ts";
import type { App } from "./operation.ts";
import { noSuchPath, STATUS } from "./problem.ts";

export function problemPageRoutes(app: App): void {
  app.get("/problems/:code", (c) => {
    const code = c.req.param("code");
    if (!isCode(code)) throw noSuchPath();
    return htmlPage(c.env, { title: CODES[code].title, main: explanation(code) });
  });
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(CODES, code);
}

function explanation(code: ErrorCode): string {
  const { title, about, retryable, applied } = CODES[code];
  const again = retryable
    ? "Yes: the same request may succeed later, after <code>Retry-After</code> where there is one."
    : "Not unchanged: it would be answered the same way.";
  const effect =
    applied === false ? "No: nothing was done." : "Unknown: read back before sending it again.";
  return `<h1>${escapeHtml(title)}</h1>
<p><code>${code}</code>, HTTP status ${STATUS[code]}</p>
<p>${escapeHtml(about)}</p>
<dl><dt>May I retry?</dt><dd>${again}</dd><dt>May it have taken effect?</dt><dd>${effect}</dd></dl>`;
}
