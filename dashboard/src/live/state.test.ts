import { describe, expect, it } from "vitest"
import { at, heartbeat, NOON, price, signal, signalOf, snapshot, stateOf, statusEvent } from "./fixtures.ts"
import { isNews } from "./news.ts"
import { alive, answered, isReplayed, merged, NOTHING, orderOf, orderOfHeartbeat } from "./state.ts"

describe("the order of events", () => {
  it.each([
    ["the event behind the last one", price(6, NOON, 1), "next"],
    ["an event once more", price(5, NOON, 1), "known"],
    ["an event after missing ones", price(7, NOON, 1), "gap"],
    ["an event of another sequence", price(6, NOON, 1, { epoch: "e2" }), "gap"],
    ["a snapshot, whatever its number", snapshot(99), "next"],
  ] as const)("%s", (_, event, order) => {
    expect(orderOf(stateOf(), event)).toBe(order)
  })

  it("an event before any snapshot says that something is missing", () => {
    expect(orderOf(NOTHING, price(6, NOON, 1))).toBe("gap")
  })

  it.each([
    [heartbeat(5), "next"],
    [heartbeat(6), "gap"],
    [heartbeat(null), "known"],
  ] as const)("a heartbeat names what the state should have", (beat, order) => {
    expect(orderOfHeartbeat(stateOf(), beat)).toBe(order)
  })
})

describe("the state behind an event", () => {
  it("has the newest prices beside the decision that holds", () => {
    const state = merged(stateOf(), price(6, at("12:01:00"), 463), true, 10)
    expect(state).toMatchObject({ seq: 6, id: "e1-6", receivedMs: 10, isCurrent: true, asOf: at("12:01:00") })
    expect(state.prices?.now).toBe(463)
    expect(state.signal).toMatchObject({ decision_hour: 12, as_of: at("12:01:00"), prices: { now: 463 } })
  })

  it("keeps the decision and the prices where the market's state changes", () => {
    const closed = {
      market_open: false,
      next_open: at("23:00:00"),
      data_stale: false,
      provider_held_back: false,
      models: "",
    }
    const state = merged(stateOf(), statusEvent(6, at("16:00:00"), { status: closed, freshness: "closed" }), true, 10)
    expect(state).toMatchObject({ status: closed, freshness: "closed", signal: { action: "NO_TRADE" } })
  })

  it("says why events are missing for ever, until a snapshot without a gap", () => {
    const gap = merged(stateOf(), snapshot(90, NOON, { resumed: false, missed: "too_old" }), true, 10)
    expect(gap.missed).toBe("too_old")
    expect(merged(gap, snapshot(91), true, 10).missed).toBeNull()
  })

  it("does not fall behind an answer of a later moment", () => {
    const asked = answered(
      stateOf(),
      signalOf({ generated_at: at("12:05:00"), as_of: at("12:05:00") }),
      { market_open: true, next_open: null },
      5,
    )
    const state = merged(asked, price(6, at("12:04:00"), 1), false, 10)
    expect(state).toMatchObject({ seq: 6, asOf: at("12:05:00"), prices: { now: 461 } })
  })

  it("takes a bar that an answer of a later moment did not have", () => {
    const asked = answered(
      stateOf(),
      signalOf({ generated_at: at("12:05:02"), as_of: at("12:04:00") }),
      { market_open: true, next_open: null },
      5,
    )
    expect(merged(asked, price(6, at("12:05:00"), 470), true, 10).prices?.now).toBe(470)
  })

  it("is quiet for as long as the server says, by two moments of the server's own clock", () => {
    const beat = heartbeat(5, { server_time: at("03:00:00"), next_by: at("03:00:12") })
    expect(alive(stateOf(), beat, true, 7)).toMatchObject({ quietMs: 12_000, receivedMs: 7, isCurrent: true })
  })
})

it("an event from before the connection is replayed, a snapshot never is", () => {
  expect(isReplayed(price(6, at("11:59:59"), 1), NOON)).toBe(true)
  expect(isReplayed(price(6, NOON, 1), NOON)).toBe(false)
  expect(isReplayed(snapshot(6, at("09:00:00")), NOON)).toBe(false)
})

describe("a decision is new", () => {
  const buy = signal(6, at("13:00:00"), { decision_hour: 13, action: "BUY_CALL" })
  const behind = merged(stateOf(), buy, true, 10)

  it("where it comes while the viewer looks", () => {
    expect(isNews(stateOf(), behind)).toBe(true)
  })

  it.each([
    ["at load", NOTHING, behind],
    ["after the connection was lost", stateOf({ isCurrent: false }), behind],
    ["where it is replayed", stateOf(), merged(stateOf(), buy, false, 10)],
    ["where it is stale", stateOf(), { ...behind, freshness: "stale" }],
    ["where it was found afterwards", stateOf(), { ...behind, freshness: "historical" }],
    ["where only a gate changed", behind, merged(behind, { ...buy, seq: 7 }, true, 11)],
    ["where only a price came", behind, merged(behind, price(7, at("13:01:00"), 1), true, 11)],
    ["where there is none", stateOf(), { ...behind, signal: signalOf({ decision_hour: null }) }],
  ] as const)("not %s", (_, before, after) => {
    expect(isNews(before, after)).toBe(false)
  })
})
