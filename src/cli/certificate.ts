/**
 * The certificate a node serves with: read from two files, and read again when
 * they change or the process is told to by SIGHUP.
 *
 *   in use ──files changed, SIGHUP──▶ read ──fits its key──▶ in use
 *                                      └── does not, or cannot be read: the one in
 *                                          use stays, and it is tried again
 *
 * The files are looked at, rather than watched: whoever renews a certificate may
 * swap a directory under them. One of them may be new before the other is, so a
 * pair that does not fit is nothing to end for.
 *
 * @module
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import process from "node:process";
import type { Clock } from "../../storage/base/clock.ts";
import type { Log } from "../../storage/base/logger.ts";
import type { Certificate } from "../runtime/runtime.ts";
import { CliError } from "./exit.ts";

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

const LOOK_MS = 5000;

/** @throws {CliError} `config` when they cannot be read, or are no pair. */
export function readCertificate(files: CertificateFiles): Certificate {
  let fits: boolean;
  const pair = { cert: "", key: "" };
  try {
    pair.cert = readFileSync(files.cert, "utf8");
    pair.key = readFileSync(files.key, "utf8");
    fits = new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key));
  } catch (error) {
    const reason = (error as Error).message;
    const where = `"${files.cert}" and "${files.key}"`;
    throw new CliError("config", `Cannot use the certificate in ${where}: ${reason}`, error);
  }
  if (fits) return pair;
  const detail = `Cannot use the certificate in "${files.cert}": the key in "${files.key}" is not its key`;
  throw new CliError("config", detail);
}

export interface RenewalPorts {
  readonly clock: Pick<Clock, "after">;
  readonly log: Log;
  use(certificate: Certificate): void;
}

export class CertificateRenewal {
  readonly #files: CertificateFiles;
  readonly #ports: RenewalPorts;
  /** Of the files that are in use. */
  #seen: string;
  #said = "";

  constructor(files: CertificateFiles, ports: RenewalPorts) {
    this.#files = files;
    this.#ports = ports;
    this.#seen = stateOf(files);
  }

  start(): void {
    process.on("SIGHUP", () => this.renew());
    this.#lookLater();
  }

  #lookLater(): void {
    this.#ports.clock.after(LOOK_MS, () => {
      this.look();
      this.#lookLater();
    });
  }

  /** Takes the certificate if the files are others than those in use. */
  look(): void {
    if (stateOf(this.#files) !== this.#seen) this.renew();
  }

  renew(): void {
    const { log, use } = this.#ports;
    const state = stateOf(this.#files);
    try {
      use(readCertificate(this.#files));
      this.#seen = state;
      this.#said = "";
      log("info", "The certificate was renewed", { cert: this.#files.cert });
    } catch (error) {
      const { message } = error as Error;
      if (message === this.#said) return;
      this.#said = message;
      log("error", "The certificate cannot be renewed: the one before stays in use", { error });
    }
  }
}

/** Which files they are, as far as the file system tells; empty while one is not there. */
function stateOf({ cert, key }: CertificateFiles): string {
  try {
    return [cert, key]
      .map((path) => statSync(path))
      .map(({ ino, size, mtimeMs, ctimeMs }) => `${ino} ${size} ${mtimeMs} ${ctimeMs}`)
      .join(", ");
  } catch {
    return ""; // between the old and the new one
  }
}
