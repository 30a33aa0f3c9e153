/**
 * A process that holds the data directory it is told until it is ended.
 *
 * @module
 */

import process from "node:process";
import { holdDataDir } from "../../src/cli/data_dir.ts";

const dataDir = holdDataDir(process.argv[2] ?? "");
console.log(`held ${dataDir.path}`);
setTimeout(() => dataDir.release(), 60_000);
