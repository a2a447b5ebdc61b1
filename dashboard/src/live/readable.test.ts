import { describe, expect, it } from "vitest"
import { at, NOON, price, signal, signalOf, snapshot, statusEvent } from "./fixtures.ts"
import { isReadable, tickerOf } from "./readable.ts"

const one = at("12:01:00")

describe("an event as the protocol has it", () => {
  it.each([snapshot(5), signal(6, one), price(6, one, 470), statusEvent(6, one)])("can be read: $kind", (event) => {
    expect(isReadable(event)).toBe(true)
  })

  it("can be read where the server knows no bar and no price", () => {
    const unknown = { at_decision: null, now: null, session_open: null, at_11: null, change_percent: null }
    expect(isReadable(price(6, one, 470, { as_of: null, prices: unknown }))).toBe(true)
    expect(isReadable(snapshot(5, NOON, { as_of: null, signal: signalOf({ as_of: null, expires_at: null }) }))).toBe(
      true,
    )
  })
})

describe("an event that cannot be read", () => {
  const event = price(6, one, 470)
  const whole = snapshot(5)
  it.each([
    ["nothing", null],
    ["text", "rubbish"],
    ["a list", []],
    ["a kind that is not known", { ...event, kind: "rubbish" }],
    ["a kind that every object has", { ...event, kind: "constructor" }],
    ["a moment that is none", { ...event, generated_at: "rubbish" }],
    ["a bar that ended at no moment", { ...event, as_of: "rubbish" }],
    ["freshness that is not known", { ...event, freshness: "sparkling" }],
    ["freshness that every object has", { ...event, freshness: "toString" }],
    ["a market that is not known", { ...event, source: "rubbish" }],
    ["no place in the sequence", { ...event, seq: "6" }],
    ["no prices", { ...event, prices: null }],
    ["a price that is no number", { ...event, prices: { ...event.prices, now: "470" } }],
    ["structure that is text", { ...event, structure: "up" }],
    ["no signal", { ...whole, signal: null }],
    ["no status", { ...whole, status: null }],
    [
      "a range without an end",
      { ...whole, signal: { ...whole.signal, ranges: [{ level: 0.8, low: 1, coverage: null }] } },
    ],
    ["no gates", { ...whole, signal: { ...whole.signal, gates: null } }],
    ["an action that is not known", { ...whole, signal: { ...whole.signal, action: "<b>X</b>" } }],
    [
      "a lock that ends at no moment",
      { ...whole, signal: { ...whole.signal, lock: { state: "locked", locked_at: NOON } } },
    ],
    ["the signal of another ticker", { ...whole, signal: { ...whole.signal, ticker: "QQQ" } }],
    ["an opening at no moment", { ...whole, status: { ...whole.status, next_open: "rubbish" } }],
  ])("has %s", (_, message) => {
    expect(isReadable(message)).toBe(false)
  })
})

it("the ticker of a message is known whatever else it holds", () => {
  expect(tickerOf({ ticker: "SPY", prices: null })).toBe("SPY")
  expect(tickerOf({ ticker: 5 })).toBeNull()
  expect(tickerOf(null)).toBeNull()
})
