import { describe, expect, it } from "vitest"
import { hello, stateOf } from "../../live/fixtures.ts"
import { NOTHING } from "../../live/state.ts"
import { connectionRows, eventCells } from "./connection.ts"
import { healthGroups } from "./rows.ts"

const HEALTH = {
  operations: {
    market: "polygon",
    plan: { name: "starter", delay_s: 900.0, probed: true },
    budget: { per_minute: 5, left: 3, key_refused: false },
    breaker: { bars: { state: "open", failures: 4 } },
    follower: { tickers: ["SPY"], alive: true, probe_error: null },
    store: { kind: "sqlite", failing: false },
    calendar: {
      upcoming: [
        { day: "2025-01-09", close: null },
        { day: "2025-11-28", close: "13:00" },
      ],
    },
  },
}

describe("what the server tells operators", () => {
  it("begins with plan, budget, breaker and follower", () => {
    expect(healthGroups(HEALTH).map(({ title }) => title)).toEqual([
      "Plan in detail",
      "Budget",
      "Breaker",
      "Follower",
      "Store",
      "Calendar",
    ])
  })

  it("is written with units and words", () => {
    const rows = healthGroups(HEALTH).flatMap((group) =>
      group.rows.map(({ name, value }) => `${group.title} ${name} = ${value}`),
    )
    expect(rows).toEqual([
      "Plan in detail Name = starter",
      "Plan in detail Delay = 900 s",
      "Plan in detail Probed = yes",
      "Budget Per minute = 5",
      "Budget Left = 3",
      "Budget Key refused = no",
      "Breaker Bars: state = open",
      "Breaker Bars: failures = 4",
      "Follower Tickers = SPY",
      "Follower Alive = yes",
      "Follower Probe error = –",
      "Store Kind = sqlite",
      "Store Failing = no",
      "Calendar Closed and short days of the next three months = Thu 9 Jan 2025 closed, Fri 28 Nov 2025 until 13:00",
    ])
  })

  it("says that nothing is held back, and that a demo asks nobody", () => {
    const groups = healthGroups({ operations: { budget: null, breaker: {} } })
    expect(groups.map(({ rows }) => rows[0]?.value)).toEqual([
      "no provider is asked in this market",
      "closed: no calls are held back",
    ])
  })

  it.each([null, 7, "x", [], {}, { operations: null }])("may be nothing at all: %o", (health) => {
    expect(healthGroups(health)).toEqual([])
  })
})

describe("the connection", () => {
  it("says since when it is as it is, why, and when it tries again", () => {
    const connection = {
      state: "refused",
      sinceMs: 1_000,
      retryAtMs: 9_500,
      refusal: { code: "X", detail: "No." },
    } as const
    const values = Object.fromEntries(
      connectionRows(connection, hello(), 1, 4_000).map(({ name, value }) => [name, value]),
    )
    expect(values).toMatchObject({
      State: "refused by the server, for 3 s",
      Reason: "X: No.",
      "Next attempt": "in 6 s",
    })
  })

  it("says of each ticker where its events are, and what is missing", () => {
    expect(eventCells(stateOf(), 2_000)).toEqual(["5", "e1", "12:00:00", "live", "2 s ago", "none"])
    expect(eventCells(stateOf({ isCurrent: false }), 0).at(-1)).toBe("being asked for")
    expect(eventCells(stateOf({ missed: "too_old" }), 0).at(-1)).toBe("lost: too old")
    expect(eventCells(NOTHING, 0).slice(0, 5)).toEqual(["–", "–", "–", "–", "–"])
  })
})
