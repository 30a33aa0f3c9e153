/**
 * The commands' way to a running node: plain HTTP, with the node's problems
 * turned into the one kind of error a command reports.
 *
 * @module
 */

import type { Command } from "commander";
import { CLIENT_VARIABLES } from "../config.ts";
import { CliError, type ExitName } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

const DEFAULT_URL = "http://127.0.0.1:8080";

export interface ClientOptions {
  readonly url?: string;
}

/** Adds `--url` to a command that talks to a node. */
export function withUrl(command: Command): Command {
  return command.option(
    "--url <url>",
    `the node's address (${CLIENT_VARIABLES.url}, else ${DEFAULT_URL}); a key goes into ${CLIENT_VARIABLES.apiKey}`,
  );
}

export interface Call {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | string;
  readonly signal?: AbortSignal;
}

export class Client {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor({ url }: ClientOptions, { env }: Terminal) {
    const given = url ?? env[CLIENT_VARIABLES.url] ?? DEFAULT_URL;
    if (!/^https?:\/\//.test(given) || !URL.canParse(given)) {
      throw new CliError("usage", `Cannot use the address "${given}": expected http://host:port`);
    }
    this.#url = given.replace(/\/+$/, "");
    const key = env[CLIENT_VARIABLES.apiKey];
    this.#headers = key ? { Authorization: `Bearer ${key}` } : {};
  }

  /**
   * Sends one request.
   *
   * @returns the answer when it is one of success.
   * @throws {CliError} `unavailable` when there is no answer or a retry may
   * help, else by the problem's status. An abort is thrown as it comes.
   */
  async call(path: string, { headers, ...rest }: Call = {}): Promise<Response> {
    const init = { ...rest, headers: { ...this.#headers, ...headers } };
    let response: Response;
    try {
      response = await fetch(`${this.#url}${path}`, init);
    } catch (error) {
      if (rest.signal?.aborted) throw error;
      throw new CliError("unavailable", `Cannot reach ${this.#url}: ${reasonOf(error)}`, error);
    }
    if (response.ok) return response;
    throw await refusal(response);
  }

  async json<T>(path: string, call: Call = {}): Promise<T> {
    return (await (await this.call(path, call)).json()) as T;
  }

  /** The items of all pages of a list, which are `member` of each page. */
  async *pages<T>(
    path: string,
    member: string,
    { limit = 1000, query = {} }: { limit?: number; query?: Readonly<Record<string, string>> } = {},
  ): AsyncGenerator<T> {
    const parameters = new URLSearchParams({ limit: String(limit), ...query });
    for (;;) {
      const page = await this.json<Record<string, unknown>>(`${path}?${parameters}`);
      yield* page[member] as T[];
      const next = page["nextPageToken"] as string | undefined;
      if (next === undefined) return;
      parameters.set("pageToken", next);
    }
  }
}

/** A call that sends `value` as JSON. */
export function sending(method: string, value: object): Call {
  const headers = { "Content-Type": "application/json" };
  return { method, headers, body: JSON.stringify(value) };
}

/** A name as one segment of a path. */
export function segment(name: string): string {
  return encodeURIComponent(name);
}

async function refusal(response: Response): Promise<CliError> {
  const text = await response.text();
  const { title, detail, code } = problemIn(text);
  const said = [title, detail].filter(Boolean).join(": ");
  const message = said ? `${said} (${code ?? response.status})` : `Answer ${response.status}`;
  return new CliError(exitFor(response.status), message, { code, status: response.status });
}

function problemIn(text: string): { title?: string; detail?: string; code?: string } {
  try {
    return JSON.parse(text) as { title?: string; detail?: string; code?: string };
  } catch {
    return {}; // Not our node: some proxy's page. The status says enough.
  }
}

function exitFor(status: number): ExitName {
  if (status === 401 || status === 403) return "forbidden";
  if (status === 404) return "negative";
  return status === 429 || status >= 500 ? "unavailable" : "refused";
}

/** Runtimes put the cause in different places. */
function reasonOf(error: unknown): string {
  const { message, code, cause } = error as Error & { code?: string };
  if (cause instanceof Error) return reasonOf(cause);
  const refused = code === "ECONNREFUSED" || code === "ConnectionRefused";
  return refused || /refused/i.test(message) ? "connection refused" : message || String(code);
}
