/**
 * Notes from which openapi.yaml the client was generated, so that a stale one
 * is found where the generator is not installed.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname;
const contract = readFileSync(join(here, "..", "..", "openapi.yaml"));
const digest = createHash("sha256").update(contract).digest("hex");
writeFileSync(join(here, "client", "generated_from.txt"), `${digest}\n`);
