import { expect, it } from "vitest"
import { inTurn } from "./turns.ts"

it("expensive requests are made one after another, and not where they are not needed any more", async () => {
  const [events, dropped] = [[] as string[], new AbortController()]
  const run = (name: string) => async (): Promise<void> => {
    events.push(`${name} begins`)
    await Promise.resolve()
    events.push(`${name} ends`)
    if (name === "two") throw new Error("it failed")
  }
  const { signal } = new AbortController()
  const all = [
    inTurn(run("one"), signal),
    inTurn(run("two"), signal),
    inTurn(run("three"), dropped.signal),
    inTurn(run("four"), signal),
  ]
  dropped.abort()
  const ended = await Promise.allSettled(all)
  expect(ended.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"])
  expect(events).toEqual(["one", "two", "four"].flatMap((name) => [`${name} begins`, `${name} ends`]))
})
