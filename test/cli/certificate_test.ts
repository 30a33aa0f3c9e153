/**
 * Reading a certificate, and renewing it in whatever order its files change.
 *
 * @module
 */

import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CertificateRenewal, readCertificate } from "../../src/cli/certificate.ts";
import { CliError, EXIT } from "../../src/cli/exit.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { withTempDir } from "../e2e/server.ts";
import {
  OTHER_CERTIFICATE,
  OTHER_KEY,
  TEST_CERTIFICATE,
  TEST_KEY,
} from "../fakes/test_certificate.ts";

function withFiles(
  pair: { readonly cert: string; readonly key: string },
  body: (files: { cert: string; key: string }) => void,
): Promise<void> {
  return withTempDir(async (dir) => {
    const files = { cert: join(dir, "tls.crt"), key: join(dir, "tls.key") };
    writeFileSync(files.cert, pair.cert);
    writeFileSync(files.key, pair.key);
    body(files);
  });
}

const PAIR = { cert: TEST_CERTIFICATE, key: TEST_KEY };
const OTHER = { cert: OTHER_CERTIFICATE, key: OTHER_KEY };

describe("readCertificate()", () => {
  it("reads a certificate and its key", () =>
    withFiles(PAIR, (files) => assert.deepEqual(readCertificate(files), PAIR)));

  const faults: [name: string, pair: { cert: string; key: string }, says: RegExp][] = [
    ["the key of another", { cert: TEST_CERTIFICATE, key: OTHER_KEY }, /is not its key/],
    ["what is no certificate", { cert: "hello", key: TEST_KEY }, /Cannot use the certificate/],
    ["what is no key", { cert: TEST_CERTIFICATE, key: "hello" }, /Cannot use the certificate/],
    ["files the wrong way round", { cert: TEST_KEY, key: TEST_CERTIFICATE }, /Cannot use/],
    ["an empty file", { cert: "", key: "" }, /Cannot use the certificate/],
  ];
  for (const [name, pair, says] of faults) {
    it(`refuses ${name}`, () =>
      withFiles(pair, (files) => {
        assert.throws(
          () => readCertificate(files),
          (error) => {
            assert(error instanceof CliError && error.exitCode === EXIT.config.code);
            assert.match(error.message, says);
            assert(!error.message.includes("PRIVATE KEY"), "and keeps the key to itself");
            return true;
          },
        );
      }));
  }

  it("names a file that is not there", () =>
    withFiles(PAIR, (files) => {
      rmSync(files.key);
      assert.throws(() => readCertificate(files), /tls\.key/);
    }));
});

describe("CertificateRenewal", () => {
  function renewal(files: { cert: string; key: string }) {
    const used: object[] = [];
    const logged: string[] = [];
    const renewing = new CertificateRenewal(files, {
      clock: new ManualClock(),
      log: (level) => void logged.push(level),
      use: (certificate) => void used.push(certificate),
    });
    return { renewing, used, logged };
  }

  it("leaves files alone that did not change", () =>
    withFiles(PAIR, (files) => {
      const { renewing, used } = renewal(files);
      renewing.look();
      assert.deepEqual(used, []);
    }));

  for (const first of ["cert", "key"] as const) {
    it(`waits for both files when the ${first} comes first, and says so once`, () =>
      withFiles(PAIR, (files) => {
        const { renewing, used, logged } = renewal(files);
        writeFileSync(files[first], OTHER[first]);
        renewing.look();
        renewing.look();
        assert.deepEqual([used, logged], [[], ["error"]]);
        const second = first === "cert" ? "key" : "cert";
        writeFileSync(files[second], OTHER[second]);
        renewing.look();
        renewing.look();
        assert.deepEqual([used, logged], [[OTHER], ["error", "info"]]);
      }));
  }

  it("tries again when a file was away", () =>
    withFiles(PAIR, (files) => {
      const { renewing, used } = renewal(files);
      rmSync(files.cert);
      renewing.look();
      writeFileSync(files.cert, TEST_CERTIFICATE);
      renewing.look();
      assert.deepEqual(used, [PAIR]);
    }));

  it("reads them again when it is told to, changed or not", () =>
    withFiles(PAIR, (files) => {
      const { renewing, used } = renewal(files);
      renewing.renew();
      assert.deepEqual(used, [PAIR]);
    }));
});
