// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from "vitest"
import { parsed } from "../router.ts"
import { hello, NOON, stateOf } from "./fixtures.ts"
import { Live } from "./live.svelte.ts"
import type { Market } from "./types.ts"

const TODAY = parsed("/dashboard/SPY", "")
let live: Live

/** The page is connected, and the hello, or the one of a connection before, named a market. */
function connected(source: Market): void {
  live.connection = { state: "open", sinceMs: 0, retryAtMs: null, refusal: null }
  live.hello = { ...hello(), source }
  live.nowMs = 0
  live.clock.observe(Date.parse(NOON), 0)
}

function put(source: Market): void {
  for (const ticker of ["SPY", "QQQ", "IWM"] as const) live.put(ticker, stateOf({ source, receivedMs: 0 }))
}

beforeEach(() => {
  live = new Live()
})

describe("the market of the prices", () => {
  it.each([
    ["polygon", "polygon", "LIVE"],
    ["polygon", "demo", "DEMO"],
    ["polygon", "recorded", "RECORDED"],
    ["demo", "polygon", "DEMO"],
    ["recorded", "demo", "DEMO"],
  ] as const)("where the hello says %s and the prices are of %s is never more than %s", (greeted, priced, word) => {
    connected(greeted)
    put(priced)
    expect(live.pageTruth(TODAY).word).toBe(word)
  })

  it("of the page is the one that claims least, whichever ticker it is of", () => {
    connected("polygon")
    put("polygon")
    expect(live.market(TODAY)).toBe("polygon")
    live.put("IWM", stateOf({ source: "demo", receivedMs: 0 }))
    expect(live.market(TODAY)).toBe("demo")
    expect(live.pageTruth(TODAY).word).toBe("DEMO")
  })

  it("is not known before something has named it", () => {
    expect(live.market(TODAY)).toBeNull()
  })
})
