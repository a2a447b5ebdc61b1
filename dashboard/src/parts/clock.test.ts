import { describe, expect, it } from "vitest"
import { newYorkTime, newYorkZone } from "../format/times.ts"
import { at, signalOf } from "../live/fixtures.ts"
import { lockLeftS } from "./clock.ts"

describe("the time left in the lock", () => {
  const now = Date.parse(at("12:59:30"))

  it("is that of the first lock that ends", () => {
    expect(lockLeftS([null, signalOf(), signalOf()], now)).toBe(30)
  })

  it.each([
    ["nothing is known", [null], now],
    ["market time is not known", [signalOf()], null],
    ["the lock is over", [signalOf()], Date.parse(at("13:00:00"))],
    [
      "there is no decision",
      [
        signalOf({
          lock: {
            state: "none",
            locked_at: null,
            expires_at: null,
            recorded: null,
            inputs_sha256: null,
            bars_agree: null,
          },
        }),
      ],
      now,
    ],
  ] as const)("is unknown where %s", (_, signals, marketNow) => {
    expect(lockLeftS(signals, marketNow)).toBeNull()
  })
})

// In 2026 the clocks of New York change on March 8 and on November 1.
it.each([
  ["2026-03-08T06:59:59Z", "01:59:59", "EST"],
  ["2026-03-08T07:00:00Z", "03:00:00", "EDT"],
  ["2026-11-01T05:59:59Z", "01:59:59", "EDT"],
  ["2026-11-01T06:00:00Z", "01:00:00", "EST"],
])("at %s the clock says %s %s", (moment, time, zone) => {
  expect(newYorkTime(moment, { seconds: true })).toBe(time)
  expect(newYorkZone(moment)).toBe(zone)
})
