/**
 * The files of the documentation page, from the package that brings them, so
 * that the page loads nothing from elsewhere.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const PACKAGE = "swagger-ui-dist";

/** A file by its plain name; undefined when there is none. */
export async function documentationAsset(name: string): Promise<Uint8Array | undefined> {
  if (!/^[\w-]+(\.[\w-]+)+$/.test(name)) return undefined;
  try {
    const folder = dirname(createRequire(import.meta.url).resolve(`${PACKAGE}/package.json`));
    return await readFile(join(folder, name));
  } catch {
    return undefined; // Installed without it, or no such file: the node serves all the same.
  }
}
