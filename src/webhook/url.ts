/**
 * Which checkUrl a producer may give.
 *
 * The text is judged when it is given, so that a mistake is told at once, and
 * again before each call, as the configuration may have changed. A name is not
 * resolved here: where it leads is judged at each call, by the addresses it has
 * then (`address.ts`).
 *
 * The URL parser has already turned `127.1`, `0x7f.1`, `2130706433` and
 * full-width digits into 127.0.0.1 when the host is looked at.
 *
 * @module
 */

import { addressFault, parseAddress } from "./address.ts";

export const URL_LENGTH_MAX = 2048;

/** Below are the services of the system, such as mail and remote shells. */
const OPEN_PORT_MIN = 1024;
const HTTPS_PORT = 443;

export interface CheckUrlOptions {
  /** Whether the own machine and network, plain http and any port are allowed. */
  readonly allowPrivate: boolean;
}

/** Where a check-back goes. */
export interface CheckTarget {
  readonly secure: boolean;
  /** A name without the dot of the root, or an address without brackets. */
  readonly host: string;
  readonly hostIsAddress: boolean;
  readonly port: number;
  /** For the `Host` header: with brackets, and the port unless it is the usual one. */
  readonly authority: string;
  /** With the query. */
  readonly path: string;
}

export type ReadCheckUrl =
  | { readonly kind: "target"; readonly target: CheckTarget }
  | { readonly kind: "fault"; readonly fault: string };

/** Says what is wrong with a checkUrl, as the end of a sentence that begins with it; undefined when nothing is. */
export function checkUrlFault(url: string, options: CheckUrlOptions): string | undefined {
  const read = readCheckUrl(url, options);
  return read.kind === "fault" ? read.fault : undefined;
}

export function readCheckUrl(text: string, { allowPrivate }: CheckUrlOptions): ReadCheckUrl {
  const fault = textFault(text);
  if (fault !== undefined) return { kind: "fault", fault };
  const url = new URL(text);
  const target = targetOf(url);
  const refusal = urlFault(url) ?? schemeFault(url, allowPrivate);
  const first = refusal ?? hostFault(target, allowPrivate) ?? portFault(target, allowPrivate);
  return first === undefined ? { kind: "target", target } : { kind: "fault", fault: first };
}

function textFault(text: string): string | undefined {
  if (text.length > URL_LENGTH_MAX) return `is longer than ${URL_LENGTH_MAX} characters`;
  // The parser drops some of them without a word, so the URL would not be the one that was read.
  if (/[\s\p{Cc}\\]/u.test(text)) return "contains a space, a control character or \\";
  return URL.canParse(text) ? undefined : "is not an absolute URL";
}

function urlFault(url: URL): string | undefined {
  if (url.username !== "" || url.password !== "") return "must not contain credentials";
  return url.href.includes("#") ? "must not contain a fragment" : undefined;
}

function schemeFault({ protocol }: URL, allowPrivate: boolean): string | undefined {
  if (protocol === "https:" || (allowPrivate && protocol === "http:")) return undefined;
  return allowPrivate ? "must begin with https:// or http://" : "must begin with https://";
}

function hostFault(target: CheckTarget, allowPrivate: boolean): string | undefined {
  const { host, hostIsAddress } = target;
  if (host === "") return "has no host";
  const fault = hostIsAddress ? addressFault(host, { allowPrivate }) : undefined;
  if (fault !== undefined) return `leads to ${fault}`;
  const isLocal = host === "localhost" || host.endsWith(".localhost");
  return isLocal && !allowPrivate ? "leads to a loopback address" : undefined;
}

function portFault({ port }: CheckTarget, allowPrivate: boolean): string | undefined {
  if (port === 0) return "must not name port 0";
  if (allowPrivate || port === HTTPS_PORT || port >= OPEN_PORT_MIN) return undefined;
  return `must name port ${HTTPS_PORT} or one from ${OPEN_PORT_MIN}`;
}

function targetOf(url: URL): CheckTarget {
  const secure = url.protocol === "https:";
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  return {
    secure,
    host,
    hostIsAddress: parseAddress(host) !== undefined,
    port: url.port === "" ? (secure ? HTTPS_PORT : 80) : Number(url.port),
    authority: url.host,
    path: `${url.pathname}${url.search}`,
  };
}
