/**
 * The command line itself: help, usage errors, exit codes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EXIT } from "../../src/cli/exit.ts";
import { flagOf, settingsOf, variableOf } from "../../src/config.ts";
import manifest from "../../package.json" with { type: "json" };
import { runCommand } from "../fakes/terminal.ts";

const COMMANDS = ["serve", "topic", "group", "publish", "tail", "inspect", "check"];

describe("tidegate", () => {
  it("prints its version", async () => {
    const { exitCode, printed } = await runCommand(["--version"]);
    assert.deepEqual({ exitCode, printed }, { exitCode: 0, printed: [manifest.version] });
  });

  it("lists commands, examples and exit codes in --help", async () => {
    const { exitCode, printed } = await runCommand(["--help"]);
    assert.equal(exitCode, 0);
    const help = printed.join("\n");
    for (const command of COMMANDS) assert.match(help, new RegExp(`^  ${command}\\b`, "m"));
    for (const { code, about } of Object.values(EXIT)) {
      assert.match(help, new RegExp(`^ +${code}  ${about.replaceAll(/[()]/g, "\\$&")}$`, "m"));
    }
    assert.match(help, /Examples:/);
  });

  for (const command of COMMANDS.filter((name) => name !== "topic")) {
    it(`shows an example or a remark in ${command} --help`, async () => {
      const { exitCode, printed } = await runCommand([command, "--help"]);
      assert.equal(exitCode, 0);
      assert.match(printed.join("\n"), /Examples:|Exit code/);
    });
  }

  for (const command of ["serve", "broker", "gateway", "elect"] as const) {
    it(`tells every setting in ${command} --help, with its variable`, async () => {
      const { printed } = await runCommand([command, "--help"]);
      const help = printed.join(" ").replaceAll(/\s+/g, " ");
      for (const name of settingsOf(command)) {
        assert(help.includes(variableOf(name)), `${variableOf(name)} is not told`);
        const flag = flagOf(name);
        if (flag) assert(help.includes(flag), `${flag} is not told`);
      }
    });
  }

  const misused: [args: string[], said: RegExp][] = [
    [[], /Usage: tidegate/],
    [["topic"], /Usage: tidegate topic/],
    [["group"], /Usage: tidegate group/],
    [["group", "put", "g", "--mode", "sorted"], /Allowed choices are concurrent, ordered/],
    [["group", "put", "g", "--tag", "orders"], /Expected topic=filter/],
    [["group", "seek", "g", "orders"], /missing required argument 'position'/],
    [["publsh", "orders"], /unknown command 'publsh'[^]*Did you mean publish\?/],
    [["serve", "--prot", "1"], /unknown option '--prot'[^]*Did you mean --port\?/],
    [["serve", "--port"], /argument missing/],
    [["serve", "extra"], /too many arguments/],
    [["publish"], /missing required argument 'topic'/],
    [["tail", "orders", "--max", "many"], /Expected a whole number/],
    [["tail", "orders", "--format", "xml"], /Allowed choices are json, text/],
    [["publish", "orders", "x", "--property", "=1"], /Expected name=value/],
    [["publish", "orders", "x", "--file", "y"], /Cannot publish both/],
    [["topic", "list", "--url", "ftp://host"], /Cannot use the address "ftp:\/\/host"/],
  ];
  for (const [args, said] of misused) {
    it(`refuses "${["tidegate", ...args].join(" ")}" with ${EXIT.usage.code}`, async () => {
      const { exitCode, printed, warned } = await runCommand(args);
      assert.equal(exitCode, EXIT.usage.code);
      assert.match(warned.join("\n"), said);
      assert.deepEqual(printed, []);
    });
  }

  const misconfigured: [args: string[], env: Record<string, string>, said: RegExp][] = [
    [["--port", "http"], {}, /^tidegate: Cannot read --port "http"/],
    [["--host", "0.0.0.0"], {}, /^tidegate: Cannot serve on 0\.0\.0\.0 without authentication/],
    [[], { TIDEGATE_PROT: "1" }, /^tidegate: Unknown variable TIDEGATE_PROT: did you mean/],
  ];
  for (const [args, env, said] of misconfigured) {
    it(`refuses serve ${args.join(" ")} ${JSON.stringify(env)} with ${EXIT.config.code}`, async () => {
      const { exitCode, warned } = await runCommand(["serve", ...args], { env });
      assert.equal(exitCode, EXIT.config.code);
      assert.match(warned.join("\n"), said);
    });
  }
});
